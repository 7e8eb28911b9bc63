"""One request and its answer as ASGI has them: the body read once and for all, the answer overheard."""

from __future__ import annotations

from dataclasses import dataclass, field

from starlette.types import Message, Receive, Send

from godwit.core.errors import Refused

BODY_BYTES_MAX = 1024 * 1024
KEPT_BYTES_MAX = 1024 * 1024
"""Of an overheard answer; no answer to a request that changes something is that long."""


async def read_body(receive: Receive) -> bytes:
    """All of it; `Refused` if it is longer than any of our requests."""
    body = bytearray()
    while (message := await receive())["type"] == "http.request":
        body += message.get("body", b"")
        if len(body) > BODY_BYTES_MAX:
            raise Refused(f"the request's body is longer than {BODY_BYTES_MAX} bytes: none of ours is", "too-large")
        if not message.get("more_body", False):
            break
    return bytes(body)


def replayed(body: bytes, receive: Receive) -> Receive:
    """The same request once more, for the next one to read."""
    is_told = False

    async def again() -> Message:
        nonlocal is_told
        if is_told:
            return await receive()
        is_told = True
        return {"type": "http.request", "body": body, "more_body": False}

    return again


@dataclass
class Overheard:
    """An answer on its way, known in full before its last part is sent."""

    status: int | None = None
    body: bytearray = field(default_factory=bytearray)

    def hear(self, message: Message) -> bool:
        """Whether that was the last part."""
        if message["type"] == "http.response.start":
            self.status = message["status"]
        if message["type"] != "http.response.body":
            return False
        if len(self.body) < KEPT_BYTES_MAX:
            self.body += message.get("body", b"")
        return not message.get("more_body", False)


async def send_answer(send: Send, *, status: int, body: bytes, headers: list[tuple[bytes, bytes]]) -> None:
    """A whole answer."""
    length = (b"content-length", str(len(body)).encode())
    await send({"type": "http.response.start", "status": status, "headers": [*headers, length]})
    await send({"type": "http.response.body", "body": body})

"""The guest agent is asked as its protocol wants, and one that is missing, mute or confused is no guest agent."""

from __future__ import annotations

import asyncio
import json
import tempfile
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from godwit.qemu.guest_agent import SENTINEL, shut_down

Answer = Callable[[int], bytes]


@pytest.fixture
async def socket() -> AsyncIterator[Path]:
    """A path short enough for a socket."""
    with tempfile.TemporaryDirectory(prefix="gw") as name:
        yield Path(name) / "agent.sock"


class GuestAgent:
    """Answers a synchronisation as it is told to, and keeps what it hears."""

    def __init__(self, answer: Answer) -> None:
        self._answer = answer
        self.heard: list[dict[str, object]] = []
        self.ended = asyncio.Event()

    async def talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while line := await reader.readline():
            request = json.loads(line.removeprefix(SENTINEL))
            self.heard.append(request)
            if request["execute"] == "guest-sync-delimited":
                assert line.startswith(SENTINEL)
                writer.write(self._answer(request["arguments"]["id"]))
        writer.close()
        self.ended.set()


def answered(id: int) -> bytes:
    return SENTINEL + json.dumps({"return": id}).encode() + b"\n"


@pytest.mark.anyio
@pytest.mark.parametrize(
    "answer",
    [answered, lambda id: b'{"return": {}}\n' + answered(1 << 40) + SENTINEL + b"no JSON\n" + answered(id)],
    ids=["plainly", "after what others left"],
)
async def test_it_is_told_to_shut_down_once_it_has_answered(socket: Path, answer: Answer) -> None:
    guest = GuestAgent(answer)
    async with await asyncio.start_unix_server(guest.talk, socket):
        assert await shut_down(socket, timeout_s=30)
        await guest.ended.wait()
    assert guest.heard[1:] == [{"execute": "guest-shutdown", "arguments": {"mode": "powerdown"}}]


@pytest.mark.anyio
async def test_one_that_does_not_answer_is_told_nothing(socket: Path) -> None:
    guest = GuestAgent(lambda _: b"")
    async with await asyncio.start_unix_server(guest.talk, socket):
        assert not await shut_down(socket, timeout_s=0.05)
        await guest.ended.wait()
    assert [each["execute"] for each in guest.heard] == ["guest-sync-delimited"]


@pytest.mark.anyio
async def test_without_one_nobody_answers(socket: Path) -> None:
    assert not await shut_down(socket, timeout_s=30)

"""Answers Prometheus over plain HTTP: one page, nothing to configure, nothing that could be changed by it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from godwit.core.errors import Refused
from godwit.telemetry.metrics import CONTENT_TYPE

REQUEST_S = 5.0
PAGES = frozenset({"/", "/metrics"})


@asynccontextmanager
async def exposed(text: Callable[[], bytes], address: str) -> AsyncIterator[int]:
    """As long as this holds, the numbers are at `http://address/metrics`; gives the port. `Refused` if it is taken."""
    host, _, port = address.rpartition(":")

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            async with asyncio.timeout(REQUEST_S):
                head = await reader.readuntil(b"\r\n\r\n")
                writer.write(_answer(head, text))
                await writer.drain()
        except (TimeoutError, OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            pass  # whoever asked has left, or says nothing we know
        finally:
            writer.close()

    try:
        server = await asyncio.start_server(serve, host.strip("[]"), int(port))
    except (OSError, OverflowError) as error:
        raise Refused(
            f"cannot show metrics at {address} ({getattr(error, 'strerror', None) or error}): "
            f"`ss -ltnp sport = :{port}` names who has the port; change metrics in the agent's configuration",
            "listen",
        ) from error
    async with server:
        yield int(server.sockets[0].getsockname()[1])


def _answer(head: bytes, text: Callable[[], bytes]) -> bytes:
    method, _, rest = head.decode("latin-1").partition(" ")
    path = rest.partition(" ")[0].partition("?")[0]
    if method not in {"GET", "HEAD"} or path not in PAGES:
        return _page("404 Not Found", b"the numbers are at /metrics\n", "text/plain")
    return _page("200 OK", b"" if method == "HEAD" else text(), CONTENT_TYPE)


def _page(status: str, body: bytes, kind: str) -> bytes:
    head = f"HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n"
    return head.encode() + body

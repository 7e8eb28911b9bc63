"""Asks the guest agent inside a VM (qemu-ga) to shut the guest down: what the guest itself would do, whatever its power
button is set to."""

from __future__ import annotations

import asyncio
import json
import secrets
from contextlib import suppress
from pathlib import Path

SENTINEL = b"\xff"
"""Before a request: the guest agent forgets what somebody else left half said. Before an answer to
`guest-sync-delimited`: what came earlier was not for us (QEMU, docs/interop/qemu-ga-ref: guest-sync-delimited)."""


async def shut_down(socket: Path, *, timeout_s: float) -> bool:
    """Whether a guest agent answered within that time and was told to shut its guest down.

    The order itself has no answer: await the end of QEMU. False: there is no guest agent, or it does not answer yet.
    """
    with suppress(OSError, TimeoutError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
        async with asyncio.timeout(timeout_s):
            reader, writer = await asyncio.open_unix_connection(socket)
            try:
                await _synchronise(reader, writer)
                writer.write(_line("guest-shutdown", mode="powerdown"))
                await writer.drain()
                return True
            finally:
                writer.close()
    return False


async def _synchronise(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """What is read next answers what is written next."""
    id = secrets.randbits(31)
    writer.write(SENTINEL + _line("guest-sync-delimited", id=id))
    while True:
        await reader.readuntil(SENTINEL)
        with suppress(ValueError, AttributeError):
            if json.loads(await reader.readline()).get("return") == id:
                return


def _line(command: str, **arguments: object) -> bytes:
    return json.dumps({"execute": command, "arguments": arguments}).encode() + b"\n"

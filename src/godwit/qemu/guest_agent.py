"""Speaks with the guest agent inside a VM (qemu-ga): asks the guest to shut down, to run a program, for its clock.

The protocol is QEMU's, docs/interop/qemu-ga-ref. Its socket serves one conversation at a time; others wait their turn.
"""

from __future__ import annotations

import asyncio
import json
import secrets
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

from godwit.core.errors import Refused, Unreachable

SENTINEL = b"\xff"
"""Before a request: the guest agent forgets what somebody else left half said. Before an answer to
`guest-sync-delimited`: what came earlier was not for us (QEMU, docs/interop/qemu-ga-ref: guest-sync-delimited)."""
LOOK_S = 0.05
"""Between two questions whether a program in the guest has ended."""
READINGS = 2
"""Of the clock; the one that took the shortest counts."""


class GuestAgent:
    """A conversation with one that answers."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    async def tell(self, command: str, **arguments: object) -> None:
        """It was said, and nobody waits for an answer."""
        self._writer.write(_line(command, **arguments))
        await self._writer.drain()

    async def ask(self, command: str, **arguments: object) -> Any:
        """What it answered; `Refused` with its reason if it would not."""
        await self.tell(command, **arguments)
        line = await self._reader.readline()
        if not line:
            raise ConnectionResetError("the guest agent's port was closed")
        answer = json.loads(line)
        if "error" in answer:
            raise Refused(str(answer["error"].get("desc", "it gave no reason")))
        return answer.get("return")

    async def synchronise(self) -> None:
        """What is read next answers what is written next."""
        id = secrets.randbits(31)
        self._writer.write(SENTINEL + _line("guest-sync-delimited", id=id))
        while True:
            await self._reader.readuntil(SENTINEL)
            with suppress(ValueError, AttributeError):
                if json.loads(await self._reader.readline()).get("return") == id:
                    return

    async def run(self, path: str, *words: str) -> int:
        """The exit status of that program of the guest, which has ended; `Refused` if it cannot be started."""
        started = await self.ask("guest-exec", path=path, arg=list(words))
        while True:
            told = await self.ask("guest-exec-status", pid=started["pid"])
            if told["exited"]:
                return int(told.get("exitcode", -1))
            await asyncio.sleep(LOOK_S)

    async def commands(self) -> frozenset[str]:
        """What it knows and may do."""
        told = await self.ask("guest-info")
        return frozenset(each["name"] for each in told["supported_commands"] if each["enabled"])

    async def skew_ms(self, readings: int = READINGS) -> tuple[float, float]:
        """The guest's clock minus ours, and half of the best round trip, within which that is right."""
        best = (0.0, float("inf"))
        for _ in range(readings):
            asked_ms = time.time() * 1000
            told_ms = await self.ask("guest-get-time") / 1e6
            answered_ms = time.time() * 1000
            error_ms = (answered_ms - asked_ms) / 2
            if error_ms < best[1]:
                best = (told_ms - (asked_ms + answered_ms) / 2, error_ms)
        return best

    async def set_clock(self, *, later_ms: float) -> None:
        """The guest's clock shows our time, if what is said arrives so much later; its hardware clock may not."""
        with suppress(Refused):  # it sets the clock first, then calls hwclock, which not every guest has
            await self.ask("guest-set-time", time=time.time_ns() + int(later_ms * 1e6))


@asynccontextmanager
async def talking(socket: Path, *, timeout_s: float) -> AsyncIterator[GuestAgent]:
    """A guest agent answers, for so long at most; `Unreachable` if none does, or it does not keep up with that."""
    try:
        async with asyncio.timeout(timeout_s):
            reader, writer = await asyncio.open_unix_connection(socket)
            try:
                agent = GuestAgent(reader, writer)
                await agent.synchronise()
                yield agent
            finally:
                writer.close()
    except (OSError, ValueError, asyncio.IncompleteReadError, asyncio.LimitOverrunError) as error:
        raise Unreachable(f"no guest agent answers within {timeout_s:g} s") from error


async def shut_down(socket: Path, *, timeout_s: float) -> bool:
    """Whether a guest agent answered within that time and was told to shut its guest down.

    The order itself has no answer: await the end of QEMU. False: there is no guest agent, or it does not answer yet.
    """
    with suppress(Unreachable):
        async with talking(socket, timeout_s=timeout_s) as agent:
            await agent.tell("guest-shutdown", mode="powerdown")
            return True
    return False


def _line(command: str, **arguments: object) -> bytes:
    return json.dumps({"execute": command, "arguments": arguments}).encode() + b"\n"

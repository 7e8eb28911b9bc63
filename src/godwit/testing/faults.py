"""A host that fails on demand: before the act, after it, never answering, with its answer lost, or late."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from enum import StrEnum
from typing import Any, cast

from godwit.contract.host import Host
from godwit.core.errors import Failed, TimedOut, Unreachable


class Fault(StrEnum):
    """What goes wrong."""

    fails_before = "fails-before"
    fails_after = "fails-after"
    hangs = "hangs"
    answer_lost = "answer-lost"
    too_slow = "too-slow"


STREAMS = frozenset({"copy", "mirror_disks", "watch", "console"})


class FaultyHost:
    """Passes every verb on to a real or fake host; the named one goes wrong once, hanging for ever."""

    def __init__(self, host: Host, verb: str, fault: Fault) -> None:
        self._host = host
        self._verb = verb
        self._fault = fault
        self._spent = False
        self.struck = asyncio.Event()

    def __getattr__(self, verb: str) -> Any:
        act = getattr(self._host, verb)
        if verb != self._verb:
            return act
        return (
            (lambda request: self._stream(act, request))
            if verb in STREAMS
            else lambda request: self._call(act, request)
        )

    async def _call(self, act: Callable[[Any], Any], request: Any) -> Any:
        if self._spent and self._fault != Fault.hangs:
            return await act(request)
        await self._before()
        answer = await act(request)
        self._after()
        return answer

    async def _stream(self, act: Callable[[Any], AsyncIterator[Any]], request: Any) -> AsyncIterator[Any]:
        if not self._spent:
            await self._before()
        async for item in act(request):
            yield item
        if not self._spent:
            self._after()

    async def _before(self) -> None:
        self.struck.set()
        if self._fault == Fault.hangs:
            self._spent = True
            await asyncio.get_running_loop().create_future()
        if self._fault == Fault.fails_before:
            self._spent = True
            raise Failed(f"{self._verb} failed before it did anything")

    def _after(self) -> None:
        self._spent = True
        if self._fault == Fault.fails_after:
            raise Failed(f"{self._verb} failed after it had done its work")
        if self._fault == Fault.too_slow:
            raise TimedOut(f"{self._verb} was not answered in time", "no-answer")
        raise Unreachable(f"the answer to {self._verb} was lost")


MAKES = frozenset({"place_disks", "prepare_incoming", "lay_relay", "prepare_outgoing"})
UNMAKES = frozenset({"discard_disks", "abort_incoming", "abort_outgoing", "release"})


class BusyHost:
    """Carries every order out to its end, whoever still waits for it; the named one takes until it `may_end`.

    What unmakes something waits for what makes it, as it does at a real host.
    """

    def __init__(self, host: Host, verb: str) -> None:
        self._host = host
        self._verb = verb
        self._turn = asyncio.Lock()
        self.struck = asyncio.Event()
        self.may_end = asyncio.Event()

    def __getattr__(self, verb: str) -> Any:
        act = getattr(self._host, verb)
        if verb not in MAKES | UNMAKES:
            return act
        return lambda request: asyncio.shield(asyncio.ensure_future(self._carry_out(verb, act, request)))

    async def _carry_out(self, verb: str, act: Callable[[Any], Any], request: Any) -> Any:
        async with self._turn:
            if verb == self._verb:
                self.struck.set()
                await self.may_end.wait()
            return await act(request)


def faulty(host: Host, verb: str, fault: Fault) -> Host:
    """That host, with one verb that goes wrong."""
    return cast(Host, FaultyHost(host, verb, fault))

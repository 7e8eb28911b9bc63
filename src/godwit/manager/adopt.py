"""What becomes of a migration whose end nobody knows: both hosts are asked, never the clock."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from enum import StrEnum

from godwit.contract.host import Host, Order, VmRef
from godwit.core.errors import Failed, GodwitError, NotFound, Unreachable, Unresolved
from godwit.core.migration import Event, EventKind, Migration
from godwit.core.phase import DEADLINES_S, STEPS, Phase
from godwit.manager.book import Book

ASK_AGAIN_S = 1.0
UNDO_S = 20.0
"""An agent that is being restarted answers again within this; one that does not is left with what it holds."""

UNTOUCHED = frozenset({Phase.pending, Phase.checking})


class Whereabouts(StrEnum):
    """Who has the right to run the VM."""

    source = "source"
    destination = "destination"
    both = "both"
    unknown = "unknown"


def whereabouts(source_owns: bool | None, destination_owns: bool | None) -> Whereabouts:
    """From what the hosts say (none: nothing). One word is enough: there is one token, and its holder knows it."""
    if source_owns and destination_owns:
        return Whereabouts.both
    if destination_owns:
        return Whereabouts.destination
    return Whereabouts.source if source_owns else Whereabouts.unknown


def route(now: Phase, goal: Phase) -> list[Phase]:
    """The fewest steps of the table that lead there."""
    queue, seen = deque([(now, list[Phase]())]), {now}
    while queue:
        phase, way = queue.popleft()
        if phase is goal:
            return way
        following = [each for each in sorted(STEPS[phase]) if each not in seen]
        seen.update(following)
        queue.extend((each, [*way, each]) for each in following)
    raise ValueError(f"no way from {now} to {goal}")


async def adopt(migration: Migration, *, source: Host, destination: Host, book: Book) -> None:
    """The migration has ended as its VM's hosts say: `done`, or `failed` and undone.

    Asks for as long as it takes; after the time that a hand-over may take the diary says `in-doubt`.
    """
    order = Order(migration=migration.id, attempt=migration.attempt, epoch=migration.epoch, vm=migration.vm)
    end = _Ending(order, source, destination, book)
    loop = asyncio.get_running_loop()
    doubt_at_s = loop.time() + DEADLINES_S[Phase.handing_over]
    while not await end.reached():
        if loop.time() >= doubt_at_s and book.phase is not Phase.in_doubt:
            await _walk(book, Phase.in_doubt, Unresolved(f"it is not known where {order.vm} runs: {end.why}"))
        await asyncio.sleep(ASK_AGAIN_S)


class _Ending:
    """One migration, asked for again and again."""

    def __init__(self, order: Order, source: Host, destination: Host, book: Book) -> None:
        self._order = order
        self._source = source
        self._destination = destination
        self._book = book
        self._undo_until_s: float | None = None
        self.why = ""

    async def reached(self) -> bool:
        """The hosts said enough, and did what was left to do."""
        owners = await asyncio.gather(*(self._owns(host) for host in (self._source, self._destination)))
        try:
            match whereabouts(*owners):
                case Whereabouts.destination:
                    await self._finish()
                case Whereabouts.source:
                    await self._undo()
                case other:
                    self.why = f"its owner is {other}, so ask both hosts with `godwit host show`"
                    return False
        except GodwitError as error:
            self.why = error.message
            return False
        return True

    async def _owns(self, host: Host) -> bool | None:
        try:
            return (await host.vm_status(VmRef(name=self._order.vm))).owned
        except NotFound:
            return False
        except Failed:
            return None

    async def _finish(self) -> None:
        """The VM has moved: what comes after that is done."""
        if self._book.phase is not Phase.settling:
            await self._note_hand_over()
            await _walk(self._book, Phase.settling)
        await self._book.settled(await self._destination.settle(self._order))
        await self._source.retire(self._order)
        await self._book.enter(Phase.done)

    async def _note_hand_over(self) -> None:
        """What the source remembers of it is kept: it answers a repeated order as it did the first."""
        try:
            await self._book.moved(await self._source.hand_over(self._order))
        except GodwitError as error:
            await self._warn(f"the blackout is not known: {error.message}")

    async def _undo(self) -> None:
        """The VM has stayed: nothing of the migration is left."""
        if self._book.phase not in UNTOUCHED:
            await self._source.abort_outgoing(self._order)
            await _walk(self._book, Phase.undoing)
            for what in (self._destination.abort_incoming, self._destination.release, self._source.release):
                await self._undone(what)
        why = Failed(f"the manager ended while {self._order.vm} was being moved; it runs where it was: move it again")
        await _walk(self._book, Phase.failed, why)

    async def _undone(self, what: Callable[[Order], Awaitable[object]]) -> None:
        """That was undone, or cannot be; `Unreachable`: it shall be tried again, which is harmless."""
        now_s = asyncio.get_running_loop().time()
        self._undo_until_s = self._undo_until_s or now_s + UNDO_S
        try:
            await what(self._order)
        except Failed as error:
            if isinstance(error, Unreachable) and now_s < self._undo_until_s:
                raise
            await self._warn(f"undoing was not complete: {error.message}")

    async def _warn(self, text: str) -> None:
        await self._book.record(Event(at=datetime.now(UTC), kind=EventKind.warned, text=text))


async def _walk(book: Book, goal: Phase, error: GodwitError | None = None) -> None:
    """The diary says that phase, by steps of the table."""
    for phase in route(book.phase, goal):
        await book.enter(phase, error=error if phase is goal else None)

"""What becomes of a migration whose end nobody knows: both hosts are asked, never the clock."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime

from godwit.contract.host import Host, Order
from godwit.core.errors import Failed, GodwitError, Unreachable, Unresolved
from godwit.core.migration import Event, EventKind, Migration
from godwit.core.phase import DEADLINES_S, STEPS, Phase
from godwit.core.verdict import Statement, Verdict, verdict
from godwit.manager.book import Book

ASK_AGAIN_S = 1.0
UNDO_S = 20.0
"""An agent that is being restarted answers again within this; one that does not is left with what it holds."""

UNTOUCHED = frozenset({Phase.pending, Phase.checking})


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
    """The migration has ended as its VM's hosts say: `done`, `failed` and undone, or `lost`.

    Asks for as long as it takes; after the time that a hand-over may take the diary says `in-doubt`, and what both
    hosts say.
    """
    end = _Ending(migration, source, destination, book)
    loop = asyncio.get_running_loop()
    doubt_at_s = loop.time() + DEADLINES_S[Phase.handing_over]
    while not await end.reached():
        if loop.time() >= doubt_at_s and book.phase is not Phase.in_doubt:
            await _walk(book, Phase.in_doubt, Unresolved(end.doubt()))
        if book.phase is Phase.in_doubt:
            await book.doubt(end.doubt())
        await asyncio.sleep(ASK_AGAIN_S)


class _Ending:
    """One migration, asked for again and again."""

    def __init__(self, migration: Migration, source: Host, destination: Host, book: Book) -> None:
        self._migration = migration
        self._order = Order(migration=migration.id, attempt=migration.attempt, epoch=migration.epoch, vm=migration.vm)
        self._source = source
        self._destination = destination
        self._book = book
        self._undo_until_s: float | None = None
        self._why = ""

    async def reached(self) -> bool:
        """The hosts said enough, and did what was left to do."""
        source, destination = await asyncio.gather(self._hear(self._source), self._hear(self._destination))
        named = ((self._migration.source, source), (self._migration.destination, destination))
        self._why = "; ".join(str(told or f"{host} does not answer") for host, told in named)
        try:
            match verdict(source, destination):
                case Verdict.moved:
                    await self._finish()
                case Verdict.stayed:
                    await self._undo()
                case Verdict.lost:
                    await self._lose()
                case Verdict.unknown:
                    return False
        except GodwitError as error:
            self._why = error.message
            return False
        return True

    def doubt(self) -> str:
        """What is known, and what a person can do."""
        hosts = f"{self._migration.source}|{self._migration.destination}|none"
        return (
            f"it is not known where {self._order.vm} runs: {self._why}; nothing is started until both hosts answer, or "
            f"a person who knows that one never will says `godwit migration settle {self._order.migration} "
            f"--runs-on {hosts} --proof TEXT`"
        )

    async def _hear(self, host: Host) -> Statement | None:
        try:
            return await host.testify(self._order)
        except GodwitError:
            return None

    async def _finish(self) -> None:
        """The VM has moved: what comes after that is done."""
        if self._book.phase is not Phase.settling:
            await self._note_hand_over()
            await _walk(self._book, Phase.settling)
        await self._book.settled(await self._destination.settle(self._order))
        try:
            await self._source.retire(self._order)
        except (Unreachable, Unresolved) as error:
            if not self._book.is_settled_by_hand:
                raise
            await self._warn(f"the source keeps what it has of {self._order.vm}: {error.message}")
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
            await self._undone(self._destination.abort_incoming)
        await self._release()
        why = Failed(f"the manager ended while {self._order.vm} was being moved; it runs where it was: move it again")
        await _walk(self._book, Phase.failed, why)

    async def _lose(self) -> None:
        """Neither host has a copy that may run: nothing of it is left."""
        await self._undone(self._destination.abort_incoming)
        await self._release()
        why = f"{self._order.vm} is lost: {self._why}; start it again with `godwit vm start {self._order.vm}`"
        await _walk(self._book, Phase.lost, Unresolved(why, "lost"))

    async def _release(self) -> None:
        if self._book.phase not in UNTOUCHED:
            await self._undone(self._destination.release)
            await self._undone(self._source.release)

    async def _undone(self, what: Callable[[Order], Awaitable[object]]) -> None:
        """That was undone, or cannot be; `Unreachable`: it shall be tried again, which is harmless."""
        now_s = asyncio.get_running_loop().time()
        self._undo_until_s = self._undo_until_s or now_s + UNDO_S
        try:
            await what(self._order)
        except (Failed, Unresolved) as error:
            if isinstance(error, Unreachable) and now_s < self._undo_until_s:
                raise
            await self._warn(f"undoing was not complete: {error.message}")

    async def _warn(self, text: str) -> None:
        await self._book.record(Event(at=datetime.now(UTC), kind=EventKind.warned, text=text))


async def _walk(book: Book, goal: Phase, error: GodwitError | None = None) -> None:
    """The diary says that phase, by steps of the table."""
    for phase in route(book.phase, goal):
        await book.enter(phase, error=error if phase is goal else None)

"""What becomes of a migration whose end nobody knows: both hosts are asked, never the clock."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime

from godwit.contract.host import Host, Order
from godwit.core.errors import Failed, GodwitError, TimedOut, Unreachable, Unresolved
from godwit.core.migration import Event, EventKind, Kind, Migration
from godwit.core.ownership import Ownership
from godwit.core.phase import DEADLINES_S, STEPS, Phase
from godwit.core.plan import Plan
from godwit.core.verdict import Statement, Verdict, verdict
from godwit.flow.cold import start_again
from godwit.flow.disks import keep_new_disks
from godwit.flow.sides import Sides
from godwit.flow.ways import WAYS
from godwit.manager.book import Book

ASK_AGAIN_S = 1.0
UNDO_S = 20.0
"""An agent that is being restarted answers again within this; one that does not is left with what it holds."""

Undo = Callable[[Order], Awaitable[object]]

NEVER_RAN = frozenset({None, Ownership.armed, Ownership.closed})
"""What the journal of a destination says then."""
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


async def adopt(migration: Migration, plan: Plan | None, sides: Sides, book: Book) -> None:
    """The migration has ended as its VM's hosts say: `done`, `failed` and undone, or `lost`.

    Asks for as long as it takes; after the time that a hand-over may take the diary says `in-doubt`, and what both
    hosts say.
    """
    end = (_Ending if migration.kind is Kind.live else _EndingOfDisks)(migration, plan, sides, book)
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

    def __init__(self, migration: Migration, plan: Plan | None, sides: Sides, book: Book) -> None:
        self._migration = migration
        self._order = Order(migration=migration.id, attempt=migration.attempt, epoch=migration.epoch, vm=migration.vm)
        self._plan = plan
        self._sides = sides
        self._source = sides.source
        self._destination = sides.destination
        self._book = book
        self._undo_until_s: float | None = None
        self._why = ""
        self._may_have_run = True
        """At the destination: what its disks hold there may be newer."""

    async def reached(self) -> bool:
        """The hosts said enough, and did what was left to do."""
        try:
            match await self._verdict():
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

    async def _verdict(self) -> Verdict:
        source, destination = await asyncio.gather(self._hear(self._source), self._hear(self._destination))
        self._may_have_run = destination is None or destination.state not in NEVER_RAN
        named = ((self._migration.source, source), (self._migration.destination, destination))
        self._why = "; ".join(str(told or f"{host} does not answer") for host, told in named)
        return verdict(source, destination)

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
        else:
            if self._plan:
                await keep_new_disks(self._plan, self._sides)
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
            await self._take_back()
            await _walk(self._book, Phase.undoing)
            for undo in self._undos():
                await self._undone(undo)
        await self._release()
        why = Failed(f"the manager ended while {self._order.vm} was being moved; it is where it was: move it again")
        await _walk(self._book, Phase.failed, why)

    async def _take_back(self) -> None:
        """The source runs the VM for certain, or this raises."""
        await self._source.abort_outgoing(self._order)

    def _undos(self) -> tuple[Undo, ...]:
        """What such a move began, last things first."""
        return self._around_disks(self._destination.abort_incoming)

    def _around_disks(self, *others: Undo) -> tuple[Undo, ...]:
        if self._plan and self._plan.disks:
            return (self._source.end_mirror, *others, self._destination.discard_disks)
        return others

    async def _lose(self) -> None:
        """Neither host has a copy that may run: nothing of it is left, but disks that may be the newer ones."""
        await self._undone(self._destination.abort_incoming)
        if not self._may_have_run:
            for undo in self._around_disks():
                await self._undone(undo)
        await self._release()
        why = f"{self._order.vm} is lost: {self._why}; start it again with `godwit vm start {self._order.vm}`"
        await _walk(self._book, Phase.lost, Unresolved(why, "lost"))

    async def _release(self) -> None:
        if self._book.phase not in UNTOUCHED:
            await self._undone(self._destination.release)
            await self._undone(self._source.release)

    async def _undone(self, what: Undo) -> None:
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


class _EndingOfDisks(_Ending):
    """One whose VM stays where it is, or is off: nobody runs it but by the manager's word, which the diary has."""

    async def _verdict(self) -> Verdict:
        began = self._book.phase in {Phase.handing_over, Phase.settling, Phase.in_doubt}
        return Verdict.moved if began else Verdict.stayed

    async def _finish(self) -> None:
        """The hand-over is repeated, which is harmless as long as the books do not know that it was; where it failed
        nothing has changed.
        """
        assert self._plan is not None, "it was made before the first phase that leads here"
        way = WAYS[self._plan.move.kind]
        if self._book.phase is not Phase.settling and not self._book.has_stored(self._plan):
            try:
                await way.commit(self._plan, self._sides)
            except (Unreachable, TimedOut):
                raise
            except Failed:
                await self._undo()
                return
        if self._book.phase is not Phase.settling:
            await _walk(self._book, Phase.settling)
        await way.complete(self._plan, self._sides)
        await self._book.enter(Phase.done)

    async def _take_back(self) -> None:
        return

    def _undos(self) -> tuple[Undo, ...]:
        restarts = self._plan and self._plan.move.restarts
        return self._around_disks(*((self._start_again,) if restarts else ()))

    async def _start_again(self, order: Order) -> None:
        assert self._plan is not None
        await start_again(self._plan, self._sides)


async def _walk(book: Book, goal: Phase, error: GodwitError | None = None) -> None:
    """The diary says that phase, by steps of the table."""
    for phase in route(book.phase, goal):
        await book.enter(phase, error=error if phase is goal else None)

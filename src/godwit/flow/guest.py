"""What the guest is told of its move, and its clock: nothing else depends on either."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime

from godwit.contract.guest import SetGuestClock, TellGuest
from godwit.contract.host import Host
from godwit.core.errors import GodwitError
from godwit.core.guest import Greeted, GuestClock, Heed, Moment, Notice
from godwit.core.migration import Event, EventKind, Kind
from godwit.core.plan import Move, Plan
from godwit.flow.ending import undone_by
from godwit.flow.sides import Sides

AFTERWARDS_S = 10.0
"""The most that a guest is given for what it does when all is over."""
SLACK_S, CLOCK_S = 5.0, 5.0
BEHIND_MS = 1000.0
"""What a move may put a guest's clock back by, besides its blackout."""
HEARD = {
    Moment.before: "the guest knows that it will be moved",
    Moment.undone: "the guest knows that it stays",
}


@asynccontextmanager
async def notified(plan: Plan, sides: Sides) -> AsyncIterator[None]:
    """The guest knows, if that was asked for, and had its time; it is told too if it stays after all."""
    wait_s = plan.move.request.notify_s
    if wait_s is None or plan.move.kind is not Kind.live:
        yield
        return
    async with undone_by(lambda: _tell(plan.move, sides, Moment.undone, min(wait_s, AFTERWARDS_S)), sides.diary):
        await _tell(plan.move, sides, Moment.before, wait_s)
        yield


async def greet(move: Move, sides: Sides) -> Greeted:
    """The guest's clock is right, and it knows that it has moved, as far as that could be done; nothing is raised."""
    if move.kind is not Kind.live:
        return Greeted()
    clock, wait_s = await _set_clock(move, sides), move.request.notify_s
    notice = await _told(move, sides.destination, Moment.after, min(wait_s, AFTERWARDS_S)) if wait_s else None
    return Greeted(clock=clock, notice=notice)


async def _tell(move: Move, sides: Sides, moment: Moment, wait_s: float) -> None:
    notice = await _told(move, sides.source, moment, wait_s)
    kind, text = EventKind.answered, f"{HEARD[moment]} ({notice.ms:.0f} ms)"
    if notice.heed is not Heed.heeded:
        kind, text = EventKind.warned, f"{move.spec.name} was told ({moment}), and did not heed it: {notice.why}"
    data = {"notice": notice.model_dump(mode="json")}
    await sides.diary.record(Event(at=datetime.now(UTC), kind=kind, text=text, data=data))


async def _told(move: Move, host: Host, moment: Moment, wait_s: float) -> Notice:
    wanted = TellGuest(
        vm=move.spec.name, moment=moment, source=move.source, destination=move.destination, wait_s=wait_s
    )
    with suppress(GodwitError, TimeoutError):
        async with asyncio.timeout(wait_s + SLACK_S):
            return await host.tell_guest(wanted)
    return Notice(moment=moment, heed=Heed.unheard, why="its host did not answer")


async def _set_clock(move: Move, sides: Sides) -> GuestClock | None:
    wanted = SetGuestClock(vm=move.spec.name, most_ms=move.request.max_blackout_ms + BEHIND_MS)
    with suppress(GodwitError, TimeoutError):
        async with asyncio.timeout(CLOCK_S):
            clock = await sides.destination.set_guest_clock(wanted)
            return clock if clock.skew_ms is not None else None
    return None

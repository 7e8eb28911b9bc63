"""What the guest is told of its move, and its clock: nothing else depends on either."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime

from godwit.contract.guest import SetGuestClock, TellGuest
from godwit.contract.host import Host
from godwit.core.errors import GodwitError
from godwit.core.guest import GuestClock, Heed, Moment, Notice
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
    Moment.after: "the guest knows that it was moved",
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


async def welcome(move: Move, sides: Sides) -> None:
    """The guest's clock is right, and it knows that it has moved; the diary says what became of both."""
    if move.kind is not Kind.live:
        return
    await _set_clock(move, sides)
    if move.request.notify_s is not None:
        await _tell(move, sides, Moment.after, min(move.request.notify_s, AFTERWARDS_S))


async def _tell(move: Move, sides: Sides, moment: Moment, wait_s: float) -> None:
    host: Host = sides.destination if moment is Moment.after else sides.source
    told = TellGuest(vm=move.spec.name, moment=moment, source=move.source, destination=move.destination, wait_s=wait_s)
    notice = Notice(moment=moment, heed=Heed.unheard, why="its host did not answer")
    with suppress(GodwitError, TimeoutError):
        async with asyncio.timeout(wait_s + SLACK_S):
            notice = await host.tell_guest(told)
    kind, text = EventKind.answered, f"{HEARD[moment]} ({notice.ms:.0f} ms)"
    if notice.heed is not Heed.heeded:
        kind, text = EventKind.warned, f"{move.spec.name} was told ({moment}), and did not heed it: {notice.why}"
    await sides.diary.record(_event(kind, text, notice=notice))


async def _set_clock(move: Move, sides: Sides) -> None:
    """Nothing is told where no guest agent could."""
    wanted = SetGuestClock(vm=move.spec.name, most_ms=move.request.max_blackout_ms + BEHIND_MS)
    with suppress(GodwitError, TimeoutError):
        async with asyncio.timeout(CLOCK_S):
            clock = await sides.destination.set_guest_clock(wanted)
        if clock.skew_ms is not None:
            kind = EventKind.warned if clock.why else EventKind.answered
            await sides.diary.record(_event(kind, _shown(clock), clock=clock))


def _shown(clock: GuestClock) -> str:
    text = f"the guest's clock was {abs(clock.skew_ms or 0):.0f} ms {'behind' if (clock.skew_ms or 0) < 0 else 'ahead'}"
    if clock.left_ms is not None:
        return f"{text}, and was set"
    return f"{text}, and was not set: {clock.why}" if clock.why else text


def _event(kind: EventKind, text: str, **data: Notice | GuestClock) -> Event:
    values = {name: each.model_dump(mode="json") for name, each in data.items()}
    return Event(at=datetime.now(UTC), kind=kind, text=text, data=values)

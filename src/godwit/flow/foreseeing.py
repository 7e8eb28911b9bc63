"""What a move will take: measured at its source, compared with the past, played through; nothing is touched."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from godwit.contract.diary import Diary
from godwit.contract.host import Host
from godwit.contract.measures import Measure
from godwit.core.case import Case
from godwit.core.convergence import Goals
from godwit.core.errors import GodwitError
from godwit.core.forecast import NOTHING, Course, Grounds, Measured, Past, goals, grounds, play, refuse
from godwit.core.migration import Kind
from godwit.core.model import MIB
from godwit.core.plan import disk_moves


@dataclass(frozen=True)
class Foresight:
    """A forecast, and what it rests on."""

    measured: Measured
    grounds: Grounds
    goals: Goals
    course: Course


async def foresee(case: Case, source: Host, past: Sequence[Past], *, thorough: bool) -> Foresight:
    """What the move is expected to take.

    `thorough` takes some seconds: how the guest writes is then told from samples of two lengths.
    """
    return _foretold(case, await _measured(case, source, thorough=thorough), past)


def _foretold(case: Case, found: Measured, past: Sequence[Past]) -> Foresight:
    request, spec = case.move.request, case.move.spec
    base = grounds(
        found,
        past,
        memory_bytes=spec.memory_mib * MIB,
        accelerator=case.move.pinned.accelerator,
        request=request,
    )
    wanted = goals(request, base)
    return Foresight(found, base, wanted, play(base, wanted))


def refuse_hopeless(case: Case, seen: Foresight) -> None:
    """Returns if the goals can be met; otherwise `Refused`, with numbers."""
    refuse(seen.course, case.move.request, seen.grounds)


async def measured(case: Case, source: Host) -> Measured | None:
    """What a move's forecast rests on; none: a move in which disks go, or the VM is off, has no forecast yet."""
    move = case.move
    if move.kind is not Kind.live or disk_moves(move, case.source, case.destination):
        return None
    return await _measured(case, source, thorough=move.request.deadline_s is not None)


async def foreseen(case: Case, found: Measured | None, diary: Diary) -> Foresight | None:
    """What can be met, as far as is known; the forecast is in the diary."""
    if found is None:
        return None
    seen = _foretold(case, found, diary.past)
    await diary.foresaw(seen.course.forecast)
    refuse_hopeless(case, seen)
    return seen


async def _measured(case: Case, source: Host, *, thorough: bool) -> Measured:
    """A source that cannot measure leaves it to the past."""
    try:
        return await source.measure(_measure(case, thorough=thorough))
    except GodwitError:
        return NOTHING


def _measure(case: Case, *, thorough: bool) -> Measure:
    destination = case.destination
    return Measure(
        vm=case.vm,
        memory_bytes=case.move.spec.memory_mib * MIB,
        destination=destination.host,
        peer_address=destination.peer_address,
        destination_address=destination.migration_address,
        thorough=thorough,
    )

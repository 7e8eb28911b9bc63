"""What a move will take: measured at its source, compared with the past, played through; nothing is touched."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from godwit.contract.host import Host
from godwit.contract.measures import Measure
from godwit.core.case import Case
from godwit.core.convergence import Goals
from godwit.core.errors import GodwitError
from godwit.core.forecast import NOTHING, Course, Grounds, Measured, Past, goals, grounds, play, refuse
from godwit.core.migration import Kind
from godwit.core.model import MIB
from godwit.core.plan import disk_moves
from godwit.flow.sides import Sides


@dataclass(frozen=True)
class Foresight:
    """A forecast, and what it rests on."""

    measured: Measured
    grounds: Grounds
    goals: Goals
    course: Course


async def foresee(case: Case, source: Host, past: Sequence[Past], *, thorough: bool) -> Foresight:
    """What the move is expected to take; a source that cannot measure leaves it to the past.

    `thorough` takes some seconds: how the guest writes is then told from samples of two lengths.
    """
    request, spec = case.move.request, case.move.spec
    try:
        measured = await source.measure(_measure(case, thorough=thorough))
    except GodwitError:
        measured = NOTHING
    base = grounds(
        measured,
        past,
        memory_bytes=spec.memory_mib * MIB,
        accelerator=case.move.pinned.accelerator,
        cap_bytes_per_s=request.bandwidth_bytes_per_s,
    )
    wanted = goals(request, base)
    return Foresight(measured, base, wanted, play(base, wanted))


def refuse_hopeless(case: Case, seen: Foresight) -> None:
    """Returns if the goals can be met; otherwise `Refused`, with numbers."""
    refuse(seen.course, case.move.request, seen.grounds)


async def foreseen(case: Case, sides: Sides) -> Foresight | None:
    """What can be met, as far as is known; the forecast is in the diary.

    A move in which disks go, or the VM is off, has no forecast yet.
    """
    move = case.move
    if move.kind is not Kind.live or disk_moves(move, case.source, case.destination):
        return None
    seen = await foresee(case, sides.source, sides.diary.past, thorough=move.request.deadline_s is not None)
    await sides.diary.foresaw(seen.course.forecast)
    refuse_hopeless(case, seen)
    return seen


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

"""What a move will take: measured at its source, compared with the past, played through; nothing is touched."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from godwit.contract.diary import Diary
from godwit.contract.host import Host
from godwit.contract.measures import Measure, Measurement
from godwit.core.case import Case
from godwit.core.convergence import Goals
from godwit.core.errors import GodwitError
from godwit.core.forecast import Course, Grounds, Past, goals, grounds, play, refuse
from godwit.core.forecast_disks import Copying, copying, without_memory
from godwit.core.migration import Kind
from godwit.core.model import MIB
from godwit.core.plan import disk_moves
from godwit.core.report import Forecast

LINK_AGE_S = 600.0
"""A link that was measured so lately need not be measured again for a move without a deadline."""


@dataclass(frozen=True)
class Foresight:
    """A forecast, and what it rests on."""

    measured: Measurement
    grounds: Grounds
    goals: Goals
    course: Course


async def foresee(case: Case, source: Host, past: Sequence[Past], *, thorough: bool) -> Foresight:
    """What the move is expected to take; a source that cannot measure leaves it to the past.

    `thorough` takes some seconds: how the guest writes is then told from samples of two lengths.
    """
    return _foretold(case, await _measured(case, source, thorough=thorough), past)


def _foretold(case: Case, found: Measurement, past: Sequence[Past]) -> Foresight:
    request, spec = case.move.request, case.move.spec
    base = grounds(
        found,
        past,
        memory_bytes=spec.memory_mib * MIB,
        accelerator=case.move.pinned.accelerator,
        request=request,
    )
    disks = _copying(case, found, past)
    base = base._replace(around_ms=base.around_ms + disks.ms)
    wanted = goals(request, base)
    course = play(base, wanted)
    seen = {"vcpu_share": found.vcpu_share, "link_age_s": round(found.link_age_s)}
    told = disks.added_to(course.forecast).model_copy(update=seen)
    return Foresight(found, base, wanted, course._replace(forecast=told))


async def foretold(case: Case, source: Host, past: Sequence[Past]) -> Forecast:
    """Of a move of any kind, thoroughly; `Refused`, with numbers, if its goals cannot be met."""
    if not _has_memory(case):
        return _without_memory(case, await _measured(case, source, thorough=False), past)
    seen = await foresee(case, source, past, thorough=True)
    refuse_hopeless(case, seen)
    return seen.course.forecast


def refuse_hopeless(case: Case, seen: Foresight) -> None:
    """Returns if the goals can be met; otherwise `Refused`, with numbers."""
    refuse(seen.course, case.move.request, seen.grounds)


async def measured(case: Case, source: Host) -> Measurement:
    """What a forecast rests on: all of it anew for a move that may be refused for it, that tries, or meets others."""
    is_thorough, known = case.move.request.deadline_s is not None, case.move.known
    is_anew = is_thorough or known.is_rehearsal or known.movers
    return await _measured(case, source, thorough=is_thorough, link_age_s=0.0 if is_anew else LINK_AGE_S)


async def foreseen(case: Case, found: Measurement, diary: Diary) -> Foresight | None:
    """What can be met, as far as is known; the forecast is in the diary. None: no memory goes."""
    if not _has_memory(case):
        await diary.foresaw(_without_memory(case, found, diary.past))
        return None
    seen = _foretold(case, found, diary.past)
    await diary.foresaw(seen.course.forecast)
    refuse_hopeless(case, seen)
    return seen


def _has_memory(case: Case) -> bool:
    """Which goes; that of a VM that stays, or is off, does not."""
    return case.move.kind is Kind.live


def _without_memory(case: Case, found: Measurement, past: Sequence[Past]) -> Forecast:
    return without_memory(_copying(case, found, past), past, case.move.request)


def _copying(case: Case, found: Measurement, past: Sequence[Past]) -> Copying:
    return copying(
        found,
        past,
        disk_moves(case.move, case.source, case.destination),
        stays=case.source.host == case.destination.host,
        cap_bytes_per_s=case.move.request.bandwidth_bytes_per_s,
    )


async def _measured(case: Case, source: Host, *, thorough: bool, link_age_s: float = 0.0) -> Measurement:
    """A source that cannot measure leaves it to the past."""
    try:
        return await source.measure(_measure(case, thorough=thorough, link_age_s=link_age_s))
    except GodwitError:
        return Measurement()


def _measure(case: Case, *, thorough: bool, link_age_s: float) -> Measure:
    destination = case.destination
    return Measure(
        vm=case.vm,
        memory_bytes=case.move.spec.memory_mib * MIB if _has_memory(case) else 0,
        destination=destination.host,
        peer_address=destination.peer_address,
        destination_address=destination.migration_address,
        disks=tuple(move.disk for move in disk_moves(case.move, case.source, destination)),
        thorough=thorough,
        link_age_s=link_age_s,
        link_is_shared=bool(case.move.known.movers),
    )

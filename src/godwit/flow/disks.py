"""Disks on their way: placed, copied and kept equal, and the old ones removed once the new ones are in use."""

from __future__ import annotations

import asyncio
import functools
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager

from godwit.contract.disks import MirrorDisks, PlaceDisks, RemoveDisk, Served, ServeDisks
from godwit.core.errors import GodwitError, Unreachable
from godwit.core.migration import EventKind, Kind
from godwit.core.model import DiskMove
from godwit.core.phase import DEADLINES_S, Phase
from godwit.core.plan import Plan
from godwit.flow.ending import ASK_AGAIN_S, asked, persist, phase, undone_by, warn
from godwit.flow.sides import Sides, order
from godwit.flow.states import left_s

SLOWEST_BYTES_PER_S = 10_000_000
"""Disks that are copied more slowly than this exceed the phase's deadline, if no other one was given."""


@asynccontextmanager
async def placed(plan: Plan, sides: Sides) -> AsyncIterator[None]:
    """Files are at the destination for the disks that go; they are nobody's yet."""
    if not plan.disks:
        yield
        return
    async with undone_by(lambda: discard(plan, sides), sides.diary):
        disks = tuple(move.to for move in plan.disks)
        filled = any(each.preallocated for each in disks)  # there is a file system where that takes as long as copying
        async with phase(Phase.preparing, sides.diary, limit_s=limit_s(plan) if filled else None):
            await sides.destination.place_disks(PlaceDisks(**order(plan.move).model_dump(), disks=disks))
        yield


async def discard(plan: Plan, sides: Sides) -> None:
    """Nothing lies there for the disks that were to go."""
    await sides.destination.discard_disks(order(plan.move))


@asynccontextmanager
async def mirrored(plan: Plan, sides: Sides) -> AsyncIterator[None]:
    """Each disk that goes has an equal copy at the destination, and what is written to it goes to both."""
    if not plan.disks:
        yield
        return
    wanted = order(plan.move)
    async with undone_by(lambda: sides.source.end_mirror(wanted), sides.diary):
        await copy_disks(plan, sides)
        yield


async def copy_disks(plan: Plan, sides: Sides) -> None:
    """All copies are equal, and kept so."""
    async with phase(Phase.copying, sides.diary, limit_s=left_s(plan, sides) or limit_s(plan)):
        await _mirror(plan, sides)


async def _mirror(plan: Plan, sides: Sides) -> None:
    """A host that is being restarted is asked again: what it has begun goes on, and is followed from where it is."""
    words = order(plan.move).model_dump() | {"moves": plan.disks, "off": plan.move.kind is Kind.cold}
    wanted = MirrorDisks(**words, bandwidth_bytes_per_s=plan.move.request.bandwidth_bytes_per_s)
    served = await _served(plan, sides)
    while True:
        try:
            served = await _followed(wanted.model_copy(update={"served": served}), plan, sides)
            if served is None:
                return
        except Unreachable as error:
            await warn(sides.diary, f"asking the source again: {error}")
            await asyncio.sleep(ASK_AGAIN_S)
            served = await _served(plan, sides)  # whoever serves may have been struck, too


async def _followed(wanted: MirrorDisks, plan: Plan, sides: Sides) -> Served | None:
    """All copies are equal; else where they are to be written from now on, because whoever served them died."""
    async for event in sides.source.mirror_disks(wanted):
        await sides.diary.record(event)
        if event.kind is EventKind.warned and plan.move.kind is Kind.cold:
            served = await _served(plan, sides)
            if served != wanted.served:
                return served
    return None


async def _served(plan: Plan, sides: Sides) -> Served | None:
    """Where copies can be written; none: on the source's own host."""
    if plan.stays:
        return None
    disks = tuple(move.to for move in plan.disks)
    words = order(plan.move).model_dump() | {"disks": disks, "off": plan.move.kind is Kind.cold}
    there = ServeDisks(**words, tls=plan.tls)
    return await asked(lambda: sides.destination.serve_disks(there), sides.diary)


def limit_s(plan: Plan) -> float:
    """For copying its disks, if no other one was asked for."""
    size_bytes = sum(move.disk.size_bytes for move in plan.disks)
    slowest = min(SLOWEST_BYTES_PER_S, plan.move.request.bandwidth_bytes_per_s or SLOWEST_BYTES_PER_S)
    return DEADLINES_S[Phase.copying] + size_bytes / slowest * 2


async def keep_new_disks(plan: Plan, sides: Sides) -> None:
    """The copies are the VM's disks, and the old ones are gone; one that cannot be removed is told of."""
    if not plan.disks:
        return
    wanted = order(plan.move)
    await persist(lambda: sides.destination.keep_disks(wanted))
    await remove_old(plan, sides, plan.disks)
    await persist(lambda: sides.source.end_mirror(wanted))


async def remove_old(plan: Plan, sides: Sides, moves: Iterable[DiskMove]) -> None:
    """What these disks were before they went is gone, or the diary tells of it."""
    for move in moves:
        wanted = RemoveDisk(vm=plan.move.spec.name, disk=move.disk)
        try:
            await asked(functools.partial(sides.source.remove_disk, wanted), sides.diary)
        except GodwitError as error:
            left = f"{move.disk.path} on {plan.move.source} is no disk of {plan.move.spec.name} any more"
            await warn(sides.diary, f"{left}, and could not be removed: {error.message}")

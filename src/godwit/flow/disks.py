"""Disks on their way: placed, copied and kept equal, and the old ones removed once the new ones are in use."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager

from godwit.contract.disks import MirrorDisks, PlaceDisks, RemoveDisk, Served, ServeDisks
from godwit.core.errors import GodwitError, Unreachable
from godwit.core.model import DiskMove
from godwit.core.phase import DEADLINES_S, Phase
from godwit.core.plan import Plan
from godwit.flow.ending import ASK_AGAIN_S, asked, phase, undone_by, warn
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
        async with phase(Phase.preparing, sides.diary):
            disks = tuple(move.to for move in plan.disks)
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
        async with phase(Phase.copying, sides.diary, limit_s=left_s(plan, sides) or limit_s(plan)):
            await _mirror(plan, sides)
        yield


async def _mirror(plan: Plan, sides: Sides) -> None:
    """A host that is being restarted is asked again: what it has begun goes on, and is followed from where it is."""
    words = order(plan.move).model_dump()
    served: Served | None = None
    if not plan.stays:
        there = ServeDisks(**words, disks=tuple(move.to for move in plan.disks), tls=plan.tls)
        served = await asked(lambda: sides.destination.serve_disks(there), sides.diary)
    wanted = MirrorDisks(
        **words, moves=plan.disks, served=served, bandwidth_bytes_per_s=plan.move.request.bandwidth_bytes_per_s
    )
    while True:
        try:
            async for event in sides.source.mirror_disks(wanted):
                await sides.diary.record(event)
            return
        except Unreachable as error:
            await warn(sides.diary, f"asking the source again: {error}")
            await asyncio.sleep(ASK_AGAIN_S)


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
    await sides.destination.keep_disks(wanted)
    await remove_old(plan, sides, plan.disks)
    await sides.source.end_mirror(wanted)


async def remove_old(plan: Plan, sides: Sides, moves: Iterable[DiskMove]) -> None:
    """What these disks were before they went is gone, or the diary tells of it."""
    for move in moves:
        try:
            await sides.source.remove_disk(RemoveDisk(vm=plan.move.spec.name, disk=move.disk))
        except GodwitError as error:
            left = f"{move.disk.path} on {plan.move.source} is no disk of {plan.move.spec.name} any more"
            await warn(sides.diary, f"{left}, and could not be removed: {error.message}")

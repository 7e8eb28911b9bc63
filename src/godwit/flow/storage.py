"""A VM runs on where it is, and its disks go: the steps of the story that are its own."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from godwit.contract.host import Settled
from godwit.core.errors import Failed, Unresolved
from godwit.core.phase import DEADLINES_S, Phase
from godwit.core.plan import Plan
from godwit.flow.disks import keep_new_disks, remove_old
from godwit.flow.ending import asked
from godwit.flow.sides import Sides, order


@asynccontextmanager
async def ready(plan: Plan, sides: Sides) -> AsyncIterator[None]:
    """Nothing else is needed."""
    yield


async def commit(plan: Plan, sides: Sides) -> None:
    """The VM uses the copies, and the books know; `Failed`: some disk is where it was."""
    try:
        async with asyncio.timeout(DEADLINES_S[Phase.handing_over]):
            finished = await asked(lambda: sides.source.finish_disks(order(plan.move)), sides.diary)
    except (Failed, TimeoutError) as error:
        move, why = plan.move, str(error) or f"{plan.move.source} did not tell in time"
        raise Unresolved(f"it is not known which disks {move.spec.name} uses: {why}") from error
    went = [move for move in plan.disks if move.disk.name in finished.disks]
    await sides.diary.stored(plan.move.spec.with_moved(went))
    if left := [move.disk.name for move in plan.disks if move not in went]:
        await remove_old(plan, sides, went)
        raise Failed(
            f"{', '.join(left)} of {plan.move.spec.name} stayed where it was: {finished.why}; move it again",
            "disk-stayed",
        )


async def complete(plan: Plan, sides: Sides) -> None:
    """The old disks are gone, and the VM may be moved again."""
    await keep_new_disks(plan, sides)
    await sides.source.release(order(plan.move))
    await sides.diary.settled(Settled(settled=True))

"""The story taken up by the next manager, where the last one was killed while disks were copied."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

from godwit.core.migration import Kind
from godwit.core.phase import Phase
from godwit.core.plan import Plan
from godwit.flow.cold import start_again
from godwit.flow.disks import discard, mirrored
from godwit.flow.ending import ended, undone_by
from godwit.flow.hand_over import hand_over, settle
from godwit.flow.sides import Sides
from godwit.flow.states import release
from godwit.flow.ways import WAYS


def may_go_on(plan: Plan | None, phase: Phase) -> bool:
    """Only disks were on their way, which go on whoever asks: QEMU copies them, and knows how far it is."""
    return plan is not None and plan.disks != () and phase is Phase.copying and plan.move.kind is not Kind.live


async def resume(plan: Plan, sides: Sides) -> None:
    """As `flow.migrate.migrate` from there on: nothing is copied twice, and what fails or is cancelled is undone."""
    way = WAYS[plan.move.kind]
    async with ended(sides.diary):
        async with (
            _as_it_was_left(plan, sides),
            mirrored(plan, sides),
            way.copied(plan, sides),
        ):
            await hand_over(way.commit, plan, sides)
        await settle(way.complete, plan, sides)


@asynccontextmanager
async def _as_it_was_left(plan: Plan, sides: Sides) -> AsyncIterator[None]:
    """Reserved and placed, the VM shut down if it had to be; each state's undo is armed again."""
    async with AsyncExitStack() as undos:
        await undos.enter_async_context(undone_by(lambda: release(plan, sides), sides.diary))
        await undos.enter_async_context(undone_by(lambda: discard(plan, sides), sides.diary))
        if plan.move.restarts:
            await undos.enter_async_context(undone_by(lambda: start_again(plan, sides), sides.diary))
        yield

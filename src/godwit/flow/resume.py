"""The story taken up by the next manager, where the last one was killed while disks were copied."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

from godwit.core.migration import Kind
from godwit.core.ownership import Ownership
from godwit.core.phase import Phase
from godwit.core.plan import Plan
from godwit.flow.cold import start_again
from godwit.flow.disks import copy_disks, discard
from godwit.flow.ending import asked, ended, undone_by
from godwit.flow.following import follow
from godwit.flow.guest import notified
from godwit.flow.hand_over import hand_over, settle
from godwit.flow.sides import Sides, order
from godwit.flow.states import release, unknown
from godwit.flow.ways import WAYS


def may_go_on(plan: Plan | None, phase: Phase) -> bool:
    """Disks were on their way, which go on whoever asks: QEMU copies them, and knows how far it is."""
    return plan is not None and plan.disks != () and phase is Phase.copying


async def resume(plan: Plan, sides: Sides) -> None:
    """As `flow.migrate.migrate` from there on: nothing is copied twice, and what fails or is cancelled is undone."""
    way = WAYS[plan.move.kind]
    async with ended(sides.diary):
        async with _as_it_was_left(plan, sides):
            if not await _is_offered(plan, sides):
                await copy_disks(plan, sides)
            async with notified(plan, sides), way.copied(plan, sides):
                await hand_over(way.commit, plan, sides)
        await settle(way.complete, plan, sides)
    await follow(plan.move, sides)


@asynccontextmanager
async def _as_it_was_left(plan: Plan, sides: Sides) -> AsyncIterator[None]:
    """Reserved, placed, prepared and mirrored; each state's undo is armed again, that of sending memory first."""
    asked_for, diary = order(plan.move), sides.diary
    async with AsyncExitStack() as undos:
        await undos.enter_async_context(undone_by(lambda: release(plan, sides), diary))
        await undos.enter_async_context(undone_by(lambda: discard(plan, sides), diary))
        if plan.move.restarts:
            await undos.enter_async_context(undone_by(lambda: start_again(plan, sides), diary))
        if plan.move.kind is Kind.live:
            await undos.enter_async_context(undone_by(lambda: sides.destination.abort_incoming(asked_for), diary))
        await undos.enter_async_context(undone_by(lambda: sides.source.end_mirror(asked_for), diary))
        if plan.move.kind is Kind.live:
            doubt = unknown(plan)
            take_back = undone_by(lambda: sides.source.abort_outgoing(asked_for), diary, in_doubt_without=doubt)
            await undos.enter_async_context(take_back)
        yield


async def _is_offered(plan: Plan, sides: Sides) -> bool:
    """Memory is on its way too, or was: its disks were equal by then, and are kept so, or the move is over."""
    if plan.move.kind is not Kind.live:
        return False
    said = await asked(lambda: sides.source.testify(order(plan.move)), sides.diary)
    return said.state not in {None, Ownership.own, Ownership.running}

"""A VM is off while it goes: the steps of the story that are its own."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime

from godwit.contract.disks import DigestDisks, GiveVm, TakeVm
from godwit.contract.host import Settled, StartVm, StopVm, VmRef
from godwit.core.errors import Failed, GodwitError, NotFound, Unresolved
from godwit.core.migration import Event, EventKind
from godwit.core.phase import DEADLINES_S, Phase
from godwit.core.plan import Plan
from godwit.flow.disks import keep_new_disks, limit_s
from godwit.flow.ending import asked, phase, undone_by, warn
from godwit.flow.sides import Sides, order
from godwit.flow.states import left_s

SHUT_DOWN_S = 180.0
"""What a guest may take to switch itself off."""


@asynccontextmanager
async def prepared(plan: Plan, sides: Sides) -> AsyncIterator[None]:
    """The VM is off; if what follows fails and it ran, it is started again where it was."""
    if not plan.move.restarts:
        async with phase(Phase.preparing, sides.diary):
            pass  # the table has no way around it
        yield
        return
    async with undone_by(lambda: start_again(plan, sides), sides.diary):
        async with phase(Phase.preparing, sides.diary, limit_s=SHUT_DOWN_S + DEADLINES_S[Phase.preparing]):
            off = StopVm(name=plan.move.spec.name, grace_s=SHUT_DOWN_S, then_off=False, migration=plan.move.migration)
            await sides.source.stop_vm(off)
        yield


@asynccontextmanager
async def copied(plan: Plan, sides: Sides) -> AsyncIterator[None]:
    """The copies are complete, and a guest would read on them what it would read on the disks they were made from."""
    async with phase(Phase.copying, sides.diary, limit_s=left_s(plan, sides) or limit_s(plan)):
        if plan.disks:
            await _complete(plan, sides)
            await _compare(plan, sides)
    yield


async def _compare(plan: Plan, sides: Sides) -> None:
    words = order(plan.move).model_dump()
    here = DigestDisks(**words, disks=tuple(move.disk for move in plan.disks))
    there = DigestDisks(**words, disks=tuple(move.to for move in plan.disks))
    ask_here = asked(lambda: sides.source.digest_disks(here), sides.diary)
    ask_there = asked(lambda: sides.destination.digest_disks(there), sides.diary)
    if plan.stays:  # one host reads one VM's disks at a time
        before, after = await ask_here, await ask_there
    else:
        before, after = await asyncio.gather(ask_here, ask_there)
    if differing := [name for name, digest in before.disks.items() if after.disks.get(name) != digest]:
        raise Failed(
            f"{', '.join(differing)} of {plan.move.spec.name} reads otherwise at {plan.move.destination} than what it "
            "was copied from: look after the storage on both sides, then move it again",
            "disk-differs",
        )
    text = f"both sides read the same from {', '.join(before.disks)}"
    data = {"sha256": before.disks}
    await sides.diary.record(Event(at=datetime.now(UTC), kind=EventKind.decided, text=text, data=data))


async def start_again(plan: Plan, sides: Sides) -> None:
    """The VM runs at the source as before."""
    try:
        await sides.source.vm_status(VmRef(name=plan.move.spec.name))
    except NotFound:
        await sides.source.start_vm(_start(plan, moved=False))


async def commit(plan: Plan, sides: Sides) -> None:
    """The destination may start the VM, and the source no longer; `Failed`: the source may, as before.

    The copies are complete before the source lets go, and the source before the destination may start it.
    """
    try:
        async with asyncio.timeout(DEADLINES_S[Phase.handing_over]):
            if plan.disks:
                await _complete(plan, sides)
            if not plan.stays:
                await _give(plan, sides)
    except TimeoutError:
        raise _unresolved(plan, "they did not answer in time") from None
    await sides.diary.stored(plan.spec)


async def _give(plan: Plan, sides: Sides) -> None:
    """From the first word on there is no way back: a destination that does not take it is asked until it does."""
    words, move = order(plan.move).model_dump(), plan.move
    give, take = GiveVm(**words, destination=move.destination), TakeVm(**words, source=move.source)
    try:
        await asked(lambda: sides.source.give_vm(give), sides.diary)
    except Failed as error:
        raise _unresolved(plan, error.message) from error
    try:
        await asked(lambda: sides.destination.take_vm(take), sides.diary)
    except GodwitError as error:
        raise _unresolved(plan, error.message) from error


def _unresolved(plan: Plan, why: str) -> Unresolved:
    return Unresolved(f"it is not known which host may start {plan.move.spec.name}: {why}")


async def _complete(plan: Plan, sides: Sides) -> None:
    finished = await asked(lambda: sides.source.finish_disks(order(plan.move)), sides.diary)
    if left := [move.disk.name for move in plan.disks if move.disk.name not in finished.disks]:
        raise Failed(f"{', '.join(left)} of {plan.move.spec.name} could not be copied: {finished.why}", "disk-stayed")


async def complete(plan: Plan, sides: Sides) -> None:
    """The old disks are gone, and a VM that ran before runs again."""
    await keep_new_disks(plan, sides)
    await asyncio.gather(*(side.release(order(plan.move)) for side in (sides.source, sides.destination)))
    if plan.move.restarts:
        await _start_there(plan, sides)
    await sides.diary.settled(Settled(settled=True))


async def _start_there(plan: Plan, sides: Sides) -> None:
    """It has moved, whether it starts or not."""
    try:
        await sides.destination.start_vm(_start(plan, moved=True))
    except GodwitError as error:
        await warn(
            sides.diary, f"{plan.move.spec.name} is at {plan.move.destination} and did not start: {error.message}"
        )


def _start(plan: Plan, *, moved: bool) -> StartVm:
    move = plan.move
    if moved:
        return StartVm(spec=plan.spec, pinned=plan.pinned, epoch=move.epoch)
    return StartVm(spec=move.spec, pinned=move.pinned, epoch=move.epoch - 1)

"""The hand-over as the manager sees it: allow the switch, wait for the agents' word, then settle."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from godwit.contract.host import HandedOver, Order
from godwit.core.errors import Failed, GodwitError, Unresolved
from godwit.core.phase import DEADLINES_S, Phase
from godwit.core.plan import Plan
from godwit.flow.disks import keep_new_disks
from godwit.flow.ending import asked, persist, phase, together, uninterrupted
from godwit.flow.following import look
from godwit.flow.pulse import feel_pulse
from godwit.flow.sides import Sides, order

TAKE_BACK_S = 10.0
"""For a source that has not stopped its VM; one that has may not know who runs it, and does not answer."""

Act = Callable[[Plan, Sides], Awaitable[None]]


async def hand_over(commit: Act, plan: Plan, sides: Sides) -> None:
    """What `commit` does is done, whoever is cancelled meanwhile; `Failed`: all is at the source as before."""
    await sides.diary.enter(Phase.handing_over)
    await uninterrupted(_awaited(commit, plan, sides))


async def _awaited(commit: Act, plan: Plan, sides: Sides) -> None:
    await commit(plan, sides)


async def settle(complete: Act, plan: Plan, sides: Sides) -> None:
    """What comes after the hand-over is done, whoever is cancelled meanwhile."""
    await uninterrupted(_settled(complete, plan, sides))


async def _settled(complete: Act, plan: Plan, sides: Sides) -> None:
    async with phase(Phase.settling, sides.diary):
        await complete(plan, sides)


async def commit(plan: Plan, sides: Sides) -> None:
    """The VM runs at the destination and the diary knows; `Failed`: it runs at the source as before.

    The two agents do it alone: this only allows it and waits. When their word does not come in time and the source
    cannot take its VM back, the outcome is `Unresolved`, never guessed.
    """
    wanted, limit_s = order(plan.move), DEADLINES_S[Phase.handing_over]
    try:
        async with asyncio.timeout(limit_s):
            handed = await _word(wanted, sides)
    except TimeoutError:
        await _take_back(wanted, sides)
        raise Failed(
            f"{wanted.vm} was not switched over within {limit_s:g} s and runs where it was: look after the "
            "migration network, or allow more with --max-blackout",
            "no-switch",
        ) from None
    await sides.diary.moved(handed)


async def _take_back(wanted: Order, sides: Sides) -> None:
    """The source runs the VM for certain, or nobody knows who does."""
    try:
        async with asyncio.timeout(TAKE_BACK_S):
            await sides.source.abort_outgoing(wanted)
    except (GodwitError, TimeoutError):
        raise Unresolved(
            f"it is not known where {wanted.vm} runs, because its agents did not tell in time; nothing is started "
            "until that is settled"
        ) from None


async def _word(wanted: Order, sides: Sides) -> HandedOver:
    """The source's word; when the answer gets lost it is asked again, which is harmless."""
    return await asked(lambda: sides.source.hand_over(wanted), sides.diary)


async def complete(plan: Plan, sides: Sides) -> None:
    """The first announcements are out, and the source's QEMU is gone, and its disks if they went with the VM."""
    await together(_told(plan, sides), _retired(plan, sides), feel_pulse(plan.move, sides))
    await keep_new_disks(plan, sides)


async def _told(plan: Plan, sides: Sides) -> None:
    await sides.diary.settled(await persist(lambda: look(plan.move, sides)))


async def _retired(plan: Plan, sides: Sides) -> None:
    await persist(lambda: sides.source.retire(order(plan.move)))

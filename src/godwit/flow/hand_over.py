"""The hand-over as the manager sees it: allow the switch, wait for the agents' word, then settle."""

from __future__ import annotations

import asyncio

from godwit.contract.host import HandedOver, Order
from godwit.core.errors import Unreachable, Unresolved
from godwit.core.phase import DEADLINES_S, Phase
from godwit.core.plan import Plan
from godwit.flow.ending import ASK_AGAIN_S, persist, phase, uninterrupted, warn
from godwit.flow.following import look
from godwit.flow.sides import Sides, order


async def hand_over(plan: Plan, sides: Sides) -> None:
    """The VM runs at the destination and the diary knows; `Failed`: it runs at the source as before.

    The two agents do it alone: this only allows it and waits. When their word does not come in time, the outcome
    is `Unresolved`, never guessed.
    """
    await sides.diary.enter(Phase.handing_over)
    await uninterrupted(_moved(order(plan.move), sides))


async def _moved(asked: Order, sides: Sides) -> None:
    try:
        async with asyncio.timeout(DEADLINES_S[Phase.handing_over]):
            handed = await _word(asked, sides)
    except TimeoutError:
        raise Unresolved(
            f"it is not known where {asked.vm} runs, because its agents did not tell in time: see "
            f"`godwit migration show {asked.migration}`; until that is settled nothing is started"
        ) from None
    await sides.diary.moved(handed)


async def _word(asked: Order, sides: Sides) -> HandedOver:
    """The source's word; when the answer gets lost it is asked again, which is harmless."""
    while True:
        try:
            return await sides.source.hand_over(asked)
        except Unreachable as error:
            await warn(sides.diary, f"asking the source again: {error}")
            await asyncio.sleep(ASK_AGAIN_S)


async def settle(plan: Plan, sides: Sides) -> None:
    """The first announcements are out and the source's QEMU is gone."""
    await uninterrupted(_settled(plan, sides))


async def _settled(plan: Plan, sides: Sides) -> None:
    async with phase(Phase.settling, sides.diary):
        await sides.diary.settled(await persist(lambda: look(plan.move, sides)))
        await persist(lambda: sides.source.retire(order(plan.move)))

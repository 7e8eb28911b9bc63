"""After a migration is done: the agents relay and announce on, and the books are told until that has ended too."""

from __future__ import annotations

import asyncio
from contextlib import suppress

from godwit.contract.host import Settled
from godwit.core.errors import GodwitError, Unreachable
from godwit.core.phase import Phase
from godwit.core.plan import Move
from godwit.flow.report import GOOD_ENDS
from godwit.flow.sides import Sides, order

ASK_EVERY_S = 1.0
LONGEST_S = 400.0
"""Longer than any relay stands."""


async def follow(move: Move, sides: Sides) -> None:
    """The diary knows how the network learned the VM's new place; nothing else depends on it, and nothing is raised."""
    if sides.diary.phase != Phase.done:
        return
    try:
        async with asyncio.timeout(LONGEST_S):
            stands = not sides.diary.is_settled
            while stands:
                await asyncio.sleep(ASK_EVERY_S)  # a question, not an event: the relay is the agents' affair
                stands = await _stands(move, sides)
    except (GodwitError, TimeoutError):
        return


async def _stands(move: Move, sides: Sides) -> bool:
    """The diary knows what both sides say; an agent that is being restarted is asked again."""
    with suppress(Unreachable):
        settled = await look(move, sides)
        await sides.diary.settled(settled)
        return settled.relayed.ended is None
    return True


async def look(move: Move, sides: Sides) -> Settled:
    """What both sides have done for the network so far; settled when the relay was needed no more."""
    asked = order(move)
    relayed = await sides.source.relayed(asked)
    told = await sides.destination.settle(asked)
    return told.model_copy(update={"relayed": relayed, "settled": relayed.ended in GOOD_ENDS})

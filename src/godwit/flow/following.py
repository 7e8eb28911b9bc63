"""After a migration is done: the agents relay and announce on, and the books are told until that has ended too."""

from __future__ import annotations

import asyncio
from contextlib import suppress

from godwit.contract.host import Settled
from godwit.core.errors import GodwitError, Unreachable
from godwit.core.phase import Phase
from godwit.core.plan import Move
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
            while not sides.diary.is_settled:
                await asyncio.sleep(ASK_EVERY_S)  # a question, not an event: the relay is the agents' affair
                await _ask(move, sides)
    except (GodwitError, TimeoutError):
        return


async def _ask(move: Move, sides: Sides) -> None:
    """The diary knows what both sides say; an agent that is being restarted is asked again."""
    with suppress(Unreachable):
        await sides.diary.settled(await look(move, sides))


async def look(move: Move, sides: Sides) -> Settled:
    """What both sides have done for the network so far; settled when the relay is gone."""
    asked = order(move)
    relayed = await sides.source.relayed(asked)
    told = await sides.destination.settle(asked)
    return told.model_copy(update={"relayed": relayed, "settled": relayed.removed_at_unix_ms is not None})

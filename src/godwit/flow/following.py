"""After a migration is done: the agents relay and announce on, and the books are told until that has ended too."""

from __future__ import annotations

import asyncio
from contextlib import suppress

from godwit.contract.host import Settled
from godwit.contract.observed import Observe, Observed
from godwit.core.errors import GodwitError, Refused, Unreachable
from godwit.core.guest import Greeted
from godwit.core.phase import Phase
from godwit.core.plan import Move
from godwit.diagnosis.reporting import reported, reported_flow
from godwit.flow.guest import greet
from godwit.flow.report import GOOD_ENDS
from godwit.flow.sides import Sides, order

ASK_EVERY_S = 1.0
GREET_AFTER_S = 0.5
"""A guest that has just come has its clients to answer first."""
LONGEST_S = 400.0
"""Longer than any relay stands."""


async def follow(move: Move, sides: Sides) -> None:
    """The diary knows how the network learned the VM's new place; nothing else depends on it, and nothing is raised."""
    if sides.diary.phase != Phase.done:
        return
    greeting = asyncio.create_task(_greeted(move, sides), name=f"greet {move.spec.name}")
    try:
        async with asyncio.timeout(LONGEST_S):
            await _follow(move, sides, greeting)
    except (GodwitError, TimeoutError):
        return
    finally:
        greeting.cancel()


async def _greeted(move: Move, sides: Sides) -> Greeted:
    await asyncio.sleep(GREET_AFTER_S)
    return await greet(move, sides)


async def _follow(move: Move, sides: Sides, greeting: asyncio.Task[Greeted]) -> None:
    seen: Observed | None = None
    greeted: Greeted | None = None
    stands = not sides.diary.is_settled
    while stands or seen is None or greeted is None:
        await asyncio.sleep(ASK_EVERY_S)  # a question, not an event: the relay is the agents' affair
        with suppress(Unreachable):  # an agent that is being restarted is asked again
            seen = seen or await observed(move.migration, sides)
            greeted = greeting.result() if greeting.done() else None
            settled = _told(await look(move, sides), seen)
            await sides.diary.settled(settled.model_copy(update={"greeted": greeted or Greeted()}))
            stands = settled.relayed.ended is None


async def look(move: Move, sides: Sides) -> Settled:
    """What both sides have done for the network so far; settled when the relay was needed no more."""
    asked = order(move)
    relayed = await sides.source.relayed(asked)
    told = await sides.destination.settle(asked)
    return told.model_copy(update={"relayed": relayed, "settled": relayed.ended in GOOD_ENDS})


async def observed(migration: str, sides: Sides) -> Observed | None:
    """What clients saw, followed from one side to the other; none: it is still being watched."""
    question = Observe(migration=migration)
    try:
        before = await sides.source.observe(question)
        if not before.is_over or before.connections is None:
            return before if before.is_over else None
        words = {"connections": before.connections, "datagrams": before.datagrams}
        after = await sides.destination.observe(question.model_copy(update=words))
    except Refused:  # an older agent, which cannot tell
        return Observed()
    complete = before.is_complete and after.is_complete
    return after.model_copy(update={"is_complete": complete}) if after.is_over else None


def _told(settled: Settled, seen: Observed | None) -> Settled:
    if seen is None or seen.connections is None:
        return settled
    connections = tuple(reported(each) for each in seen.connections)
    flows = tuple(reported_flow(each) for each in seen.datagrams)
    return settled.model_copy(update={"connections": connections, "flows": flows, "saw_all": seen.is_complete})

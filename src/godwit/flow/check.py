"""The checking phase: facts of both hosts in, a complete plan out; nothing is touched."""

from __future__ import annotations

import asyncio

from godwit.contract.host import Nothing
from godwit.core.phase import Phase
from godwit.core.plan import Move, Plan, make
from godwit.flow.ending import phase
from godwit.flow.sides import Sides


async def check(move: Move, sides: Sides) -> Plan:
    """The plan; `Refused` names what stands in the way."""
    async with phase(Phase.checking, sides.diary):
        source, destination = await asyncio.gather(sides.source.facts(Nothing()), sides.destination.facts(Nothing()))
        return make(move, source, destination)

"""After a hand-over: is the VM alive at its new place? That is told; nothing else depends on it."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from datetime import UTC, datetime

from godwit.contract.host import VmRef
from godwit.core.errors import GodwitError
from godwit.core.looked import Pulse
from godwit.core.migration import Event, EventKind
from godwit.core.plan import Move
from godwit.flow.sides import Sides

LOOK_S = 3.0


async def feel_pulse(move: Move, sides: Sides) -> None:
    """The diary says how the VM is, or nothing if its host could not tell."""
    with suppress(GodwitError, TimeoutError):
        async with asyncio.timeout(LOOK_S):
            pulse = await sides.destination.feel_pulse(VmRef(name=move.spec.name))
        await sides.diary.record(_told(move, pulse))


def _told(move: Move, pulse: Pulse) -> Event:
    kind, text = EventKind.answered, "the guest runs"
    heard = [f"{each.ip} after {each.after_ms:.1f} ms" for each in pulse.answers if each.after_ms is not None]
    heard += [] if pulse.agent_ms is None else [f"its guest agent after {pulse.agent_ms:.1f} ms"]
    if pulse.complaint:
        kind = EventKind.warned
        text = f"{move.spec.name} may not be well on {move.destination}: {pulse.complaint}; see `godwit vm console`"
    elif heard:
        text = f"the guest answers ({', '.join(heard)})"
    return Event(at=datetime.now(UTC), kind=kind, text=text, data={"pulse": pulse.model_dump(mode="json")})

"""The states that hold while a migration goes on: each one's undo is armed before its act."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime

from godwit.contract.host import Order, PrepareIncoming, PrepareOutgoing, Reserve
from godwit.core.errors import Unreachable
from godwit.core.forecast import copying_s
from godwit.core.phase import Phase
from godwit.core.plan import Plan
from godwit.flow.ending import ASK_AGAIN_S, both, phase, undone_by, warn
from godwit.flow.sides import Sides, order

LEAST_S = 0.001
"""A time that is over at once."""
RESTART_S = 20.0
"""For an agent that is being restarted; one that is silent for longer is not waited for."""


@asynccontextmanager
async def reserved(plan: Plan, sides: Sides) -> AsyncIterator[None]:
    """Nobody else moves the VM, and room for it is kept at the destination."""
    async with undone_by(lambda: release(plan, sides), sides.diary):
        async with phase(Phase.reserving, sides.diary):
            words = order(plan.move).model_dump() | {"memory_mib": plan.memory_mib}
            await sides.source.reserve(Reserve(**words, role="source" if plan.runs else "resting"))
            if not plan.stays:
                await sides.destination.reserve(Reserve(**words, role="destination"))
        yield


async def release(plan: Plan, sides: Sides) -> None:
    """The VM is no longer ours to move, and no room is kept for it."""
    asked = order(plan.move)
    await asyncio.gather(sides.source.release(asked), sides.destination.release(asked))


@asynccontextmanager
async def prepared(plan: Plan, sides: Sides) -> AsyncIterator[None]:
    """An empty QEMU listens at the destination, its taps muted; the source has met it."""
    asked = order(plan.move)
    async with undone_by(lambda: sides.destination.abort_incoming(asked), sides.diary):
        async with phase(Phase.preparing, sides.diary):
            incoming, outgoing = _incoming(plan), _outgoing(plan, elapsed_s=sides.diary.elapsed_s)
            ready, _ = await both(sides.destination.prepare_incoming(incoming), sides.source.lay_relay(outgoing))
            met = await sides.source.prepare_outgoing(outgoing.model_copy(update={"uri": ready.uri}))
        if met.clock_error_ms > 5:
            await warn(sides.diary, f"the hosts' clocks can be compared only within {met.clock_error_ms:.1f} ms")
        for note in met.notes:
            await warn(sides.diary, note)
        yield


@asynccontextmanager
async def copied(plan: Plan, sides: Sides) -> AsyncIterator[None]:
    """Memory is at the destination but for a rest that fits into the blackout."""
    asked = order(plan.move)
    abort = undone_by(lambda: sides.source.abort_outgoing(asked), sides.diary, in_doubt_without=unknown(plan))
    async with abort:
        async with phase(Phase.copying, sides.diary, limit_s=left_s(plan, sides)):
            await _listen(asked, sides)
        yield


async def _listen(asked: Order, sides: Sides) -> None:
    """The source says that the rest fits; one that is being restarted goes on by itself, and is listened to again."""
    heard, deaf_since = datetime.min.replace(tzinfo=UTC), 0.0
    clock = asyncio.get_running_loop()
    while True:
        try:
            async for event in sides.source.copy(asked):
                if event.at > heard:  # it tells everything from the first
                    heard, deaf_since = event.at, 0.0
                    await sides.diary.record(event)
            return
        except Unreachable as error:
            if not deaf_since:
                deaf_since = clock.time()
                await warn(sides.diary, f"listening to the source again: {error}")
            elif clock.time() - deaf_since > RESTART_S:
                raise
            await asyncio.sleep(ASK_AGAIN_S)


def unknown(plan: Plan) -> str:
    """What is not known of a source that does not say that it has its VM back."""
    return f"it is not known whether {plan.move.source} still runs {plan.move.spec.name}"


def left_s(plan: Plan, sides: Sides) -> float | None:
    """Of the deadline, if there is one."""
    deadline_s = plan.move.request.deadline_s
    return None if deadline_s is None else max(deadline_s - sides.diary.elapsed_s, LEAST_S)


def _incoming(plan: Plan) -> PrepareIncoming:
    move = plan.move
    return PrepareIncoming(
        **order(move).model_dump(),
        spec=plan.spec,
        pinned=plan.pinned,
        source=move.source,
        source_peer_address=plan.source_peer_address,
        source_address=plan.source_address,
        multifd=plan.multifd,
        disks=tuple(disk.to for disk in plan.disks),
        tls=plan.tls,
        compression=plan.compression,
        near=plan.near,
        buffer_bytes=plan.buffer_bytes,
    )


def _outgoing(plan: Plan, *, elapsed_s: float) -> PrepareOutgoing:
    """Disks are mirrored before memory is copied: how much time that leaves is not known yet."""
    move = plan.move
    return PrepareOutgoing(
        **order(move).model_dump(),
        destination=move.destination,
        peer_address=plan.peer_address,
        destination_address=plan.destination_address,
        multifd=plan.multifd,
        tls=plan.tls,
        compression=plan.compression,
        near=plan.near,
        buffer_bytes=plan.buffer_bytes,
        deadline_s=None if plan.disks else copying_s(move.request, elapsed_s=elapsed_s),
        fixed_ms=plan.fixed_ms,
        max_blackout_ms=move.request.max_blackout_ms,
        bandwidth_bytes_per_s=move.request.bandwidth_bytes_per_s,
        disks=bool(plan.disks),
    )

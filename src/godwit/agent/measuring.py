"""What a source measures before a move: the link, the guest's memory and how fast it writes, and idle CPUs."""

from __future__ import annotations

import asyncio
import contextlib

from godwit.agent.local import LocalVm
from godwit.contract.host import Peer
from godwit.contract.measures import Measure, OpenSink
from godwit.core.errors import GodwitError
from godwit.core.forecast import Dirtied, Measured
from godwit.host import facts
from godwit.network.link_probe import Probed, probe
from godwit.qemu import guest_memory

QUICK_MS = (100,)
THOROUGH_MS = (1000, 2000)
"""Whole seconds, which QEMU before 8.2 counts in."""


async def measure(vm: LocalVm, request: Measure, peer: Peer) -> Measured:
    """What could be measured; the VM and the link are hardly disturbed."""
    lengths_ms = THOROUGH_MS if request.thorough else QUICK_MS
    before = facts.cpu_times()
    link, dirtied, resident = await asyncio.gather(
        _link(request, peer),
        guest_memory.dirtied(vm.machine.monitor, lengths_ms, memory_bytes=request.memory_bytes),
        asyncio.to_thread(guest_memory.resident_bytes, vm.machine.qemu_pid, request.memory_bytes),
    )
    return Measured(
        link_bytes_per_s=link.bytes_per_s,
        rtt_ms=link.rtt_ms,
        resident_bytes=resident,
        dirtied=tuple(Dirtied(seconds=seconds, bytes=size) for seconds, size in dirtied),
        idle_cpus=facts.idle_cpus(before, facts.cpu_times()),
    )


async def _link(request: Measure, peer: Peer) -> Probed:
    with contextlib.suppress(GodwitError):
        sink = await peer.open_sink(OpenSink())
        return await asyncio.to_thread(probe, request.destination_address, sink.port, sink.token)
    return Probed(0, 0.0)

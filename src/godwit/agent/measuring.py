"""What a source measures before a move: the link, the guest's memory and how fast it writes, and idle CPUs."""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import Callable

from godwit.agent.local import LocalVm
from godwit.agent.vcpus import Vcpus
from godwit.agent.vms import Vms
from godwit.contract.host import Peer
from godwit.contract.measures import Measure, OpenSink
from godwit.core.dirtying import Dirtied
from godwit.core.errors import GodwitError
from godwit.core.forecast import Measured
from godwit.core.model import Disk
from godwit.host import facts
from godwit.network.link_probe import UNKNOWN, Probed, probe
from godwit.qemu import guest_memory

QUICK_MS = (100,)
THOROUGH_MS = (1000, 2000)
"""Whole seconds, which QEMU before 8.2 counts in."""


async def measure(vms: Vms, request: Measure, peers: Callable[[str, str], Peer]) -> Measured:
    """What could be measured; the VM and the link are hardly disturbed."""
    vm = vms.get(request.vm) if request.memory_bytes else None
    away = request.destination != vms.config.host
    peer = peers(request.destination, request.peer_address) if away else None
    before, vcpus = facts.cpu_times(), await _vcpus(vm)
    link, (dirtied, resident), disks = await asyncio.gather(
        _link(request, peer),
        _memory(vm, request),
        asyncio.to_thread(lambda: {disk.name: _allocated_bytes(disk) for disk in request.disks}),
    )
    return Measured(
        link_bytes_per_s=link.bytes_per_s,
        rtt_ms=link.rtt_ms,
        resent=link.resent,
        resident_bytes=resident,
        dirtied=dirtied,
        disk_bytes=disks,
        idle_cpus=facts.idle_cpus(before, facts.cpu_times()),
        vcpu_share=vcpus.share() if vcpus else None,
    )


async def _vcpus(vm: LocalVm | None) -> Vcpus | None:
    """They are looked at from now on; none: there is no VM, or it does not say what they are."""
    if vm is None:
        return None
    vcpus = Vcpus(vm)
    try:
        await vcpus.begin()
    except GodwitError:
        return None
    return vcpus


async def _memory(vm: LocalVm | None, request: Measure) -> tuple[tuple[Dirtied, ...], int]:
    if vm is None:
        return (), 0
    lengths_ms = THOROUGH_MS if request.thorough else QUICK_MS
    dirtied, resident = await asyncio.gather(
        guest_memory.dirtied(vm.machine.monitor, lengths_ms, memory_bytes=request.memory_bytes),
        asyncio.to_thread(guest_memory.resident_bytes, vm.machine.qemu_pid, request.memory_bytes),
    )
    return tuple(Dirtied(seconds=seconds, bytes=size) for seconds, size in dirtied), resident


def _allocated_bytes(disk: Disk) -> int:
    """A unit does not tell what of it is zeros."""
    with contextlib.suppress(OSError):
        return min(os.stat(disk.path).st_blocks * 512, disk.size_bytes)
    return disk.size_bytes


async def _link(request: Measure, peer: Peer | None) -> Probed:
    if peer is None:
        return UNKNOWN
    with contextlib.suppress(GodwitError):
        sink = await peer.open_sink(OpenSink())
        return await asyncio.to_thread(probe, request.destination_address, sink.port, sink.token)
    return UNKNOWN

"""What a source measures before a move: the link, the guest's memory and how fast it writes, and idle CPUs."""

from __future__ import annotations

import asyncio
import contextlib
import math
import os
from collections.abc import Callable
from time import monotonic
from typing import NamedTuple

from godwit.agent.local import LocalVm
from godwit.agent.usage import Usage
from godwit.agent.vms import Vms
from godwit.contract.host import Peer
from godwit.contract.measures import Measure, Measurement, OpenSink
from godwit.core.dirtying import Dirtied
from godwit.core.errors import GodwitError
from godwit.core.model import Disk
from godwit.core.preflight_foretold import LOSSY
from godwit.network.link_probe import UNKNOWN, Probed, probe
from godwit.qemu import guest_memory

QUICK_MS = (100,)
THOROUGH_MS = (1000, 2000)
"""Whole seconds, which QEMU before 8.2 counts in."""


class Links:
    """What was measured of links from this host, by the address at their other end. One that lost frames is not kept:
    that is looked at again each time.
    """

    def __init__(self) -> None:
        self._known: dict[str, tuple[Probed, float]] = {}

    def keep(self, address: str, link: Probed) -> None:
        """It was measured just now."""
        self._known.pop(address, None)
        if link.bytes_per_s and link.resent < LOSSY:
            self._known[address] = link, monotonic()

    def known(self, address: str, *, most_s: float) -> tuple[Probed, float] | None:
        """What was measured within that time, and how long ago."""
        link, at_s = self._known.get(address, (UNKNOWN, -math.inf))
        age_s = monotonic() - at_s
        return (link, age_s) if age_s < most_s else None


class Gauges(NamedTuple):
    """What is known without being measured anew."""

    links: Links
    usage: Usage


async def measure(vms: Vms, request: Measure, peers: Callable[[str, str], Peer], gauges: Gauges) -> Measurement:
    """What could be measured; the VM and the link are hardly disturbed."""
    vm = vms.get(request.vm) if request.memory_bytes else None
    away = request.destination != vms.config.host
    peer = peers(request.destination, request.peer_address) if away else None
    idle_cpus = gauges.usage.idle_cpus()  # before we are busy with it
    vcpu_share = gauges.usage.vcpu_share(vm) if vm else None
    (link, age_s), (dirtied, resident), disks = await asyncio.gather(
        _link(request, peer, gauges.links),
        _memory(vm, request),
        asyncio.to_thread(lambda: {disk.name: _allocated_bytes(disk) for disk in request.disks}),
    )
    return Measurement(
        link_bytes_per_s=link.bytes_per_s,
        rtt_ms=link.rtt_ms,
        resent=link.resent,
        link_age_s=age_s,
        resident_bytes=resident,
        dirtied=dirtied,
        disk_bytes=disks,
        idle_cpus=idle_cpus,
        vcpu_share=vcpu_share,
    )


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


async def _link(request: Measure, peer: Peer | None, links: Links) -> tuple[Probed, float]:
    """As it is, or was so many seconds ago."""
    address = request.destination_address
    if peer is None:
        return UNKNOWN, 0.0
    if known := links.known(address, most_s=request.link_age_s):
        return known
    with contextlib.suppress(GodwitError):
        sink = await peer.open_sink(OpenSink())
        found = await asyncio.to_thread(probe, address, sink.port, sink.token)
        if not request.link_is_shared:
            links.keep(address, found)
        return found, 0.0
    return UNKNOWN, 0.0

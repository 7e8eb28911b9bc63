"""Looking closer at this host's part of a migration that is being thought about; nothing is changed."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from ipaddress import IPv4Address
from typing import Any

from godwit.agent.guest import has_guest_agent, lacking
from godwit.agent.local import LocalVm
from godwit.agent.measuring import Gauges, measure
from godwit.agent.pulse import pulse
from godwit.agent.vms import Vms
from godwit.contract.host import Peer, VmRef
from godwit.contract.looks import ExchangeFrames, FilesLook, LookAtFiles, SegmentProbe, SegmentsLook
from godwit.contract.measures import Measure, Measurement, OpenSink, Sink
from godwit.core.config import AgentConfig
from godwit.core.looked import FileLook, NodeLook, Pulse, SegmentLook, VmLook
from godwit.host.facts import swapped_mib
from godwit.network import switches
from godwit.network.link_probe import open_sink
from godwit.network.segment import Exchange


class Looking:
    """The part of an agent that answers such questions."""

    _config: AgentConfig
    _vms: Vms
    _peers: Callable[[str, str], Peer]
    _gauges: Gauges

    async def measure(self, request: Measure, /) -> Measurement:
        """The link, the guest's memory and how it writes."""
        return await measure(self._vms, request, self._peers, self._gauges)

    async def look_at_vm(self, request: VmRef, /) -> VmLook:
        """What its QEMU says of itself."""
        return await _look_at_vm(self._vms.get(request.name))

    async def open_sink(self, request: OpenSink, /) -> Sink:
        """What comes over the migration network is counted for a moment."""
        port, token = open_sink(self._config.migration_address)
        return Sink(port=port, token=token)

    async def feel_pulse(self, request: VmRef, /) -> Pulse:
        """Whether the VM is alive."""
        return await pulse(self._vms.get(request.name))

    async def look_at_files(self, request: LookAtFiles, /) -> FilesLook:
        """Each one as this host sees it."""
        return await asyncio.to_thread(lambda: FilesLook(files=tuple(map(_file, request.paths))))

    async def exchange_frames(self, request: ExchangeFrames, /) -> SegmentsLook:
        """What came from the other host, on all networks at once."""
        known = [each for each in request.segments if each.network in self._config.networks]
        looks = [_exchange(self._config, request, each) for each in known]
        return SegmentsLook(segments=tuple(await asyncio.gather(*looks)))


async def _look_at_vm(vm: LocalVm) -> VmLook:
    """What its QEMU says of itself, and the kernel of its QEMU."""
    ask = vm.machine.monitor.execute
    migration, nodes, hears = await asyncio.gather(
        ask("query-migrate"), ask("query-named-block-nodes", flat=True), has_guest_agent(vm)
    )
    lacks = await lacking(vm) if hears else ()
    return VmLook(
        blocked=tuple(migration.get("blocked-reasons", ())),
        nodes=tuple(_node(each) for each in nodes if each["drv"] == "file"),
        has_guest_agent=hears,
        guest_agent_lacks=lacks,
        swapped_mib=swapped_mib(vm.machine.qemu_pid),
    )


def _node(told: dict[str, Any]) -> NodeLook:
    cache = told["cache"]
    return NodeLook(path=told["file"], direct=cache["direct"], flushes=not cache["no-flush"], writable=not told["ro"])


def _file(path: str) -> FileLook:
    try:
        with open(path, "rb") as opened:
            seen = os.fstat(opened.fileno())
    except OSError:
        return FileLook(path=path)
    return FileLook(path=path, size_bytes=seen.st_size, inode=seen.st_ino)


async def _exchange(config: AgentConfig, request: ExchangeFrames, probe: SegmentProbe) -> SegmentLook:
    network = config.networks[probe.network]
    exchange = Exchange(
        switch=await switches.find(network.bridge, network.vlan),
        own=config.host,
        other=request.other,
        token=bytes.fromhex(request.token),
        addresses=tuple(map(IPv4Address, probe.addresses)),
    )
    return await exchange.run(probe.network)

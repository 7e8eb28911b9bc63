"""A host beside the others, without any VM: what would trouble whatever came to it."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace

from godwit.contract.measures import Measure
from godwit.core.case import Case
from godwit.core.checked import HostChecked
from godwit.core.errors import GodwitError
from godwit.core.finding import Finding, blocker, worst_first
from godwit.core.forecast import NOTHING, Measured
from godwit.core.migration import MigrationRequest
from godwit.core.model import HostFacts, Image, Nic, Pinned, VmSpec
from godwit.core.plan import Move
from godwit.core.policy import Known
from godwit.core.preflight import BETWEEN_HOSTS, find
from godwit.flow.looking import look_between
from godwit.manager.fleet import Fleet

NOBODY = "no-vm"

Movers = Callable[..., tuple[str, ...]]


async def examine(fleet: Fleet, name: str, movers: Movers) -> HostChecked:
    """Frames are exchanged with all other hosts that answer; the link from the one before it, by name, is measured.

    `movers`: the VMs that are being moved from or to any of some hosts.
    """
    fleet.host(name)
    known = {each.host: each for each in await fleet.look()}
    if name not in known:
        return HostChecked(host=name, findings=(_silent(name, fleet.state(name).reason or "no answer"),))
    here, others = known.pop(name), list(known.values())
    cases = list(await asyncio.gather(*(_looked(fleet, each, here, movers(each.host, name)) for each in others)))
    if cases:
        before = max((at for at, each in enumerate(others) if each.host < name), default=-1)
        cases[before] = replace(cases[before], measured=await _measured(fleet, others[before], here))
    found = dict.fromkeys(each for case in cases for each in find(case, BETWEEN_HOSTS))
    return HostChecked(host=name, others=tuple(known), findings=worst_first(found))


async def _looked(fleet: Fleet, source: HostFacts, destination: HostFacts, movers: tuple[str, ...]) -> Case:
    move = _anything(source, destination).model_copy(update={"known": Known(movers=movers)})
    case = Case(move, source, destination)
    return await look_between(case, fleet.host(source.host), fleet.host(destination.host))


def _anything(source: HostFacts, destination: HostFacts) -> Move:
    """The move of a VM that has a card in each network of both."""
    both = [each for each in source.networks if each in destination.networks]
    nics = tuple(Nic(network=each, mac=f"52:54:00:00:00:{at & 0xFF:02x}") for at, each in enumerate(both))
    spec = VmSpec(name=NOBODY, uuid=str(uuid.UUID(int=0)), memory_mib=64, cpus=1, image=Image(name=NOBODY), nics=nics)
    pinned = Pinned(machine="none", cpu_model="none", accelerator=source.qemu.accelerator)
    return Move(
        migration=NOBODY,
        attempt=1,
        epoch=1,
        spec=spec,
        pinned=pinned,
        source=source.host,
        destination=destination.host,
        request=MigrationRequest(vm=NOBODY),
    )


async def _measured(fleet: Fleet, source: HostFacts, destination: HostFacts) -> Measured:
    asked = Measure(
        vm=NOBODY,
        memory_bytes=0,
        destination=destination.host,
        peer_address=destination.peer_address,
        destination_address=destination.migration_address,
    )
    with suppress(GodwitError):
        return await fleet.host(source.host).measure(asked)
    return NOTHING


def _silent(name: str, reason: str) -> Finding:
    return blocker("host-unreachable", f"{name} does not answer", reason, "start its agent, or mend the way to it")

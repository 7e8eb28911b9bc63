"""What a migration will do: asked for as a `Move`, decided once as a `Plan`, before anything is touched."""

from __future__ import annotations

from godwit.core.errors import Refused
from godwit.core.migration import MigrationRequest
from godwit.core.model import HostFacts, Name, Pinned, Value, VmSpec, VmState


class Move(Value):
    """One attempt to bring a VM from one host to another."""

    migration: str
    attempt: int
    epoch: int
    spec: VmSpec
    pinned: Pinned
    source: Name
    destination: Name
    request: MigrationRequest


class Plan(Value):
    """Every choice of a move, made once."""

    move: Move
    peer_address: str
    """Where the destination's agent answers the source's."""
    multifd: bool


def make(move: Move, source: HostFacts, destination: HostFacts) -> Plan:
    """The plan for this move between hosts as they are now; `Refused` names the first obstacle."""
    for obstacle in obstacles(move, source, destination):
        raise Refused(*obstacle)
    return Plan(
        move=move,
        peer_address=destination.peer_address,
        multifd=source.qemu.multifd and destination.qemu.multifd,
    )


def obstacles(move: Move, source: HostFacts, destination: HostFacts) -> list[tuple[str, str]]:
    """Why this move cannot be made, as (sentence, code), worst first; empty when nothing stands in its way."""
    return [
        each
        for rule in (_vm_is_at_source, _vm_is_not_at_destination, _networks, _datastores, _machine, _memory)
        if (each := rule(move, source, destination))
    ]


Obstacle = tuple[str, str] | None


def _vm_is_at_source(move: Move, source: HostFacts, destination: HostFacts) -> Obstacle:
    status = next((vm for vm in source.vms if vm.name == move.spec.name), None)
    if status and status.owned and status.state in {VmState.running, VmState.migrating}:
        return None
    state = status.state if status else "not there"
    return (
        f"{move.spec.name} does not run on {source.host} (it is {state}): see `godwit vm show {move.spec.name}`",
        "vm-not-running",
    )


def _vm_is_not_at_destination(move: Move, source: HostFacts, destination: HostFacts) -> Obstacle:
    if all(vm.name != move.spec.name for vm in destination.vms):
        return None
    return (
        f"{destination.host} holds a QEMU of {move.spec.name} already: see `godwit host show {destination.host}`",
        "vm-at-destination",
    )


def _networks(move: Move, source: HostFacts, destination: HostFacts) -> Obstacle:
    missing = sorted({nic.network for nic in move.spec.nics} - set(destination.networks))
    if not missing:
        return None
    return (
        f"{destination.host} has no network {missing[0]!r}, which {move.spec.name} is attached to: "
        f"add [networks.{missing[0]}] to its agent's configuration, or choose another host",
        "network-missing",
    )


def _datastores(move: Move, source: HostFacts, destination: HostFacts) -> Obstacle:
    missing = sorted({disk.datastore for disk in move.spec.disks} - set(destination.datastores))
    if not missing:
        return None
    return (
        f"{destination.host} does not see datastore {missing[0]!r}, where {move.spec.name} has a disk: choose another",
        "datastore-missing",
    )


def _machine(move: Move, source: HostFacts, destination: HostFacts) -> Obstacle:
    pinned, qemu = move.pinned, destination.qemu
    if pinned.accelerator != qemu.accelerator:
        what = f"runs with {pinned.accelerator}, {destination.host} with {qemu.accelerator}"
    elif pinned.machine not in qemu.machines:
        what = f"needs machine type {pinned.machine}, which QEMU {qemu.version} on {destination.host} does not have"
    elif pinned.cpu_model not in qemu.cpu_models:
        what = f"needs CPU model {pinned.cpu_model}, whose features {destination.host} does not have"
    else:
        return None
    return f"{move.spec.name} {what}: choose another host, or move it stopped", "machine-incompatible"


def _memory(move: Move, source: HostFacts, destination: HostFacts) -> Obstacle:
    if move.spec.memory_mib <= destination.memory_free_mib:
        return None
    return (
        f"{destination.host} has {destination.memory_free_mib} MiB of {destination.memory_mib} MiB free, "
        f"{move.spec.name} needs {move.spec.memory_mib} MiB: free some, or choose another host",
        "memory",
    )

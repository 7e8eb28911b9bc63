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
    source_peer_address: str
    source_address: str
    destination_address: str
    """The hosts' addresses on the migration network."""
    multifd: bool


def make(move: Move, source: HostFacts, destination: HostFacts) -> Plan:
    """The plan for this move between hosts as they are now; `Refused` names the first obstacle."""
    for obstacle in obstacles(move, source, destination):
        raise Refused(*obstacle)
    return Plan(
        move=move,
        peer_address=destination.peer_address,
        source_peer_address=source.peer_address,
        source_address=source.migration_address,
        destination_address=destination.migration_address,
        multifd=source.qemu.multifd and destination.qemu.multifd,
    )


def obstacles(move: Move, source: HostFacts, destination: HostFacts) -> list[tuple[str, str]]:
    """Why this move cannot be made, as (sentence, code), worst first; empty when nothing stands in its way."""
    return [each for rule in RULES if (each := rule(move, source, destination))]


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
    here, there = ({each.name: each for each in host.datastores} for host in (source, destination))
    for name in sorted({volume.datastore for volume in move.spec.volumes}):
        if name not in there:
            return (
                f"{destination.host} does not see datastore {name!r}, where {move.spec.name} has a disk: "
                "mount it there, or choose another host",
                "datastore-missing",
            )
        if name not in here or not (here[name].shared and there[name].shared):
            return (
                f"{move.spec.name} has a disk in datastore {name!r}, which is not shared by {source.host} and "
                f"{destination.host}: put its disks on a shared datastore, see `godwit datastore list`",
                "datastore-local",
            )
        if here[name].path != there[name].path:
            return (
                f"datastore {name!r} is {here[name].path} on {source.host} and {there[name].path} on "
                f"{destination.host}: mount it at one path everywhere",
                "datastore-path",
            )
    return None


def _uefi(move: Move, source: HostFacts, destination: HostFacts) -> Obstacle:
    if move.spec.firmware is None:
        return None
    if destination.uefi is None:
        what = f"{destination.host} has no UEFI firmware: install the package ovmf there"
    elif source.uefi is None or source.uefi.code_bytes != destination.uefi.code_bytes:
        what = f"the UEFI firmware of {destination.host} is another than {source.host}'s: install the same on both"
    else:
        return None
    return what + ", or choose another host", "uefi"


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


RULES = (_vm_is_at_source, _vm_is_not_at_destination, _networks, _datastores, _uefi, _machine, _memory)
"""Worst first."""

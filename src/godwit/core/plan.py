"""What a migration will do: asked for as a `Move`, decided once as a `Plan`, before anything is touched."""

from __future__ import annotations

from godwit.core.migration import MigrationRequest
from godwit.core.model import HostFacts, Name, Pinned, Value, VmSpec
from godwit.core.policy import Known


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
    known: Known = Known()


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
    """The plan for this move between hosts as they are now, which nothing was found to forbid."""
    return Plan(
        move=move,
        peer_address=destination.peer_address,
        source_peer_address=source.peer_address,
        source_address=source.migration_address,
        destination_address=destination.migration_address,
        multifd=source.qemu.multifd and destination.qemu.multifd,
    )

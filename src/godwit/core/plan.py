"""What a migration will do: asked for as a `Move`, decided once as a `Plan`, before anything is touched."""

from __future__ import annotations

from godwit.core.compression import NONE, choose
from godwit.core.convergence import BUFFER_BYTES, FIXED_MS, Goals
from godwit.core.forecast import NOTHING, Measured
from godwit.core.migration import Compress, Kind, MigrationRequest
from godwit.core.model import DatastoreFacts, Disk, DiskFormat, DiskMove, HostFacts, Name, Pinned, Value, VmSpec
from godwit.core.placement import free_unit, pin
from godwit.core.policy import Known


class Move(Value):
    """One attempt to bring a VM, its disks, or both to another place."""

    migration: str
    attempt: int
    epoch: int
    spec: VmSpec
    pinned: Pinned
    source: Name
    destination: Name
    """The same as the source if only disks go."""
    request: MigrationRequest
    known: Known = Known()

    @property
    def kind(self) -> Kind:
        """How it is made."""
        if self.request.cold:
            return Kind.cold
        return Kind.storage if self.source == self.destination else Kind.live

    @property
    def restarts(self) -> bool:
        """It runs, is shut down for the move, and started after it."""
        return self.request.cold and self.request.shut_down

    def datastore_for(self, disk: Disk) -> str | None:
        """Where that disk shall go; none: it stays."""
        return self.request.disks.get(disk.name, self.request.datastore)


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
    tls: bool
    compression: str
    """Of the memory stream: `none` or what both QEMUs know."""
    near: bool = True
    """The hosts are so near each other that small socket buffers keep the link busy."""
    buffer_bytes: int = BUFFER_BYTES
    """Of each connection of the memory stream, at either end."""
    fixed_ms: float = FIXED_MS
    """Of the blackout, what does not depend on what remains, as far as is known."""
    disks: tuple[DiskMove, ...] = ()
    """Those that go."""
    pinned: Pinned
    """What the VM is bound to from then on; another than before only if it is off meanwhile."""

    @property
    def spec(self) -> VmSpec:
        """The VM as it will be."""
        return self.move.spec.with_moved(self.disks)

    @property
    def runs(self) -> bool:
        """It has a QEMU at the source when it begins to move."""
        return self.move.kind is not Kind.cold or self.move.restarts

    @property
    def memory_mib(self) -> int:
        """What it will need at the destination at once."""
        return self.move.spec.memory_mib if self.runs else 0

    @property
    def stays(self) -> bool:
        """Source and destination are one host."""
        return self.move.source == self.move.destination


NEAR_MS = 1.0
"""The round trip up to which hosts are near."""
BUFFER_S = 0.002
"""So much of what the link carries is enough to keep it busy, and little to wait behind."""
BUFFER_MOST_BYTES = 4 * BUFFER_BYTES
"""More lies long unread where a busy destination cannot keep up with a fast link."""

PACKETS_BYTES_PER_S = 25_000_000
"""A lower limit holds only with a single connection: multifd sends packets of 512 KiB, and QEMU, which counts ten times
a second, one more than it may."""


def make(
    move: Move, source: HostFacts, destination: HostFacts, *, measured: Measured = NOTHING, goals: Goals | None = None
) -> Plan:
    """The plan for this move between hosts as they are now, which nothing was found to forbid."""
    multifd, compression = _stream(move.request, source, destination, measured)
    return Plan(
        move=move,
        peer_address=destination.peer_address,
        source_peer_address=source.peer_address,
        source_address=source.migration_address,
        destination_address=destination.migration_address,
        multifd=multifd,
        disks=disk_moves(move, source, destination),
        pinned=_pinned(move, destination),
        tls=not move.request.plaintext,
        compression=compression,
        near=measured.rtt_ms < NEAR_MS,
        buffer_bytes=min(max(BUFFER_BYTES, int(measured.link_bytes_per_s * BUFFER_S)), BUFFER_MOST_BYTES),
        fixed_ms=goals.fixed_ms if goals else FIXED_MS,
    )


def _stream(
    request: MigrationRequest, source: HostFacts, destination: HostFacts, measured: Measured
) -> tuple[bool, str]:
    """Whether memory goes over several connections, and how it is compressed, which only those do."""
    limit, is_known = request.bandwidth_bytes_per_s, source.qemu.multifd and destination.qemu.multifd
    if limit and limit < PACKETS_BYTES_PER_S and request.compress is not Compress.zstd:
        return False, NONE
    return is_known, choose(request.compress, source, destination, measured)


def disk_moves(move: Move, source: HostFacts, destination: HostFacts) -> tuple[DiskMove, ...]:
    """The disks that go, and where they lie then; those that are asked to go where they are stay.

    One for which a target has no unit that is large enough and free is left out.
    """
    found: list[DiskMove] = []
    for disk in move.spec.volumes:
        name = move.datastore_for(disk)
        there = next((each for each in destination.datastores if each.name == name), None)
        here = next((each for each in source.datastores if each.name == disk.datastore), None)
        is_same = source.host == destination.host or bool(here and there and here.is_same(there))
        if there is None or (is_same and _is_there(move, disk, there)):
            continue
        taken = {*move.known.units, *(each.to.path for each in found)}
        if to := _place(move, disk, there, taken):
            found.append(DiskMove(disk=disk, to=to))
    return tuple(found)


def _is_there(move: Move, disk: Disk, there: DatastoreFacts) -> bool:
    """It lies in the datastore of that name, as it shall."""
    return disk.datastore == there.name and (
        disk.is_lun or disk.read_only or move.request.format in {None, disk.format}
    )


def _place(move: Move, disk: Disk, there: DatastoreFacts, taken: set[str]) -> Disk | None:
    """The disk there: the smallest unit of a target that holds it, or a file."""
    if there.kind == "iscsi":
        path, format = free_unit(there, disk.size_bytes, taken), DiskFormat.raw
    else:
        format = disk.format if disk.read_only else move.request.format or disk.format
        path = f"{there.path}/{move.spec.name}/{disk.name}.{format}"
    return disk.model_copy(update={"datastore": there.name, "path": path, "format": format}) if path else None


def _pinned(move: Move, destination: HostFacts) -> Pinned:
    """A VM that is off may be bound anew, if it must."""
    pinned, qemu = move.pinned, destination.qemu
    fits = (
        pinned.accelerator == qemu.accelerator
        and pinned.machine in qemu.machines
        and pinned.cpu_model in qemu.cpu_models
    )
    return pinned if fits or move.kind is not Kind.cold else pin([destination], first=destination.host)

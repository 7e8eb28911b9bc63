"""The disks of hosts in memory: files by their paths, placed, mirrored and kept."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from datetime import UTC, datetime

from godwit.contract.disks import (
    Blank,
    CreateDisk,
    DigestDisks,
    Digested,
    Finished,
    FromImage,
    GiveVm,
    MirrorDisks,
    PlaceDisks,
    RemoveDisk,
    Seed,
    Served,
    ServeDisks,
    TakeVm,
    UseDatastores,
)
from godwit.contract.host import Nothing, Order, StartVm
from godwit.core.errors import Failed, NotFound, Refused
from godwit.core.migration import Event, EventKind
from godwit.core.model import DatastoreFacts, Disk, HostFacts, VmSpec

FREE_BYTES = 1 << 40


@dataclass
class FakeDisks:
    """The verbs of contract.host.Host that are about disks."""

    told: HostFacts
    files: dict[str, CreateDisk] = field(default_factory=dict)
    """By path; one dictionary for all hosts, in which those of a datastore that is not shared have the host's name."""
    added: tuple[DatastoreFacts, ...] = ()
    """By the manager."""
    placed: dict[str, PlaceDisks] = field(default_factory=dict)
    """By VM; nobody's yet."""
    mirrored: dict[str, MirrorDisks] = field(default_factory=dict)
    """By VM."""
    breaks: set[str] = field(default_factory=set)
    """Disks whose copies cannot be made complete."""
    rots: set[str] = field(default_factory=set)
    """Disks on which this host reads something else than was written."""
    given: dict[str, int] = field(default_factory=dict)
    """VMs that were off when they went, and their epoch."""

    @property
    def name(self) -> str:
        """The host's."""
        return self.told.host

    def spec_here(self, vm: str) -> VmSpec | None:
        """Of a VM that has a copy here."""
        raise NotImplementedError

    def use_spec(self, vm: str, spec: VmSpec) -> None:
        """Its copy here is that from now on."""
        raise NotImplementedError

    async def use_datastores(self, request: UseDatastores, /) -> Nothing:
        """Each one is there, unless its path says that it is absent."""
        own = {each.name for each in self.told.datastores}
        seen = [each for each in request.datastores if each.name not in own and not each.path.startswith("/absent")]
        self.added = tuple(DatastoreFacts(**each.model_dump(), free_bytes=FREE_BYTES) for each in seen)
        return Nothing()

    async def create_disk(self, request: CreateDisk, /) -> Disk:
        """Made once."""
        datastore = self._datastore(request.datastore)
        size_bytes = request.content.size_bytes if isinstance(request.content, Blank | FromImage) else None
        disk = Disk(
            name=request.name,
            datastore=request.datastore,
            path=request.unit or f"{datastore.path}/{request.vm}/{request.name}.{request.format}",
            format=request.format,
            size_bytes=size_bytes or 1 << 30,
            read_only=isinstance(request.content, Seed),
            clustered=request.clustered,
            preallocated=request.preallocated,
        )
        self._make(disk, request)
        return disk

    async def remove_disk(self, request: RemoveDisk, /) -> Nothing:
        """Gone."""
        self._datastore(request.disk.datastore)
        spec, mirrored = self.spec_here(request.vm), self.mirrored.get(request.vm)
        old = [move.disk for move in mirrored.moves] if mirrored else []
        if spec and (request.disk in spec.volumes or request.disk not in old):
            raise Refused(f"{request.vm} uses its disk {request.disk.name} on {self.name}")
        self.files.pop(self._key(request.disk), None)
        return Nothing()

    async def place_disks(self, request: PlaceDisks, /) -> Nothing:
        """Made once."""
        if self.placed.get(request.vm) == request:
            return Nothing()
        self.placed[request.vm] = request.model_copy(update={"disks": ()})
        for disk in request.disks:
            blank = Blank(size_bytes=disk.size_bytes)
            words = CreateDisk(
                vm=request.vm, name=disk.name, datastore=disk.datastore, format=disk.format, content=blank
            )
            self._make(disk, words)
            made = self.placed[request.vm].disks
            self.placed[request.vm] = request.model_copy(update={"disks": (*made, disk)})
        return Nothing()

    async def discard_disks(self, request: Order, /) -> Nothing:
        """Those in use stay."""
        placed = self.placed.get(request.vm)
        if placed and placed.order() == request.order():
            spec = self.spec_here(request.vm)
            used = {volume.path for volume in spec.volumes} if spec else set()
            for disk in placed.disks:
                if disk.path not in used:
                    self.files.pop(self._key(disk), None)
            del self.placed[request.vm]
        return Nothing()

    async def keep_disks(self, request: Order, /) -> Nothing:
        """They are the VM's."""
        self.placed.pop(request.vm, None)
        return Nothing()

    async def serve_disks(self, request: ServeDisks, /) -> Served:
        """Anywhere."""
        placed = self.placed.get(request.vm)
        if not placed or placed.order() != request.order():
            raise Refused(f"{self.name} has placed no disks of {request.vm}")
        return Served(address="192.0.2.2:10809")

    async def mirror_disks(self, request: MirrorDisks, /) -> AsyncIterator[Event]:
        """A step for each disk."""
        self.mirrored[request.vm] = request
        for move in request.moves:
            if self._key(move.disk) not in self.files:
                raise Failed(f"{self.name} has no {move.disk.path}")
            await asyncio.sleep(0.1)
            data = {"disk": move.disk.name, "from": move.disk.path, "to": move.to.path}
            figures = {"copied_bytes": 1000, "skipped_bytes": move.disk.size_bytes - 1000, "ms": 100.0}
            text = f"disk {move.disk.name} is copied"
            yield Event(at=datetime.now(UTC), kind=EventKind.disk_copied, text=text, data=data | figures)

    async def finish_disks(self, request: Order, /) -> Finished:
        """All but those that break; a VM that stays uses them."""
        mirrored = self.mirrored.get(request.vm)
        if not mirrored or mirrored.order() != request.order():
            raise Refused(f"{self.name} copies no disks of {request.vm}")
        went = [move for move in mirrored.moves if move.disk.name not in self.breaks]
        if mirrored.served is None and (spec := self.spec_here(request.vm)):
            self.use_spec(request.vm, spec.with_moved(went))
        names = tuple(move.disk.name for move in went)
        return Finished(disks=names, why="it broke" if len(went) < len(mirrored.moves) else "")

    async def digest_disks(self, request: DigestDisks, /) -> Digested:
        """All are equal, but for those that rot."""
        if self.spec_here(request.vm):
            raise Refused(f"{request.vm} is not off on {self.name}")
        return Digested(disks={disk.name: f"{self.name if disk.name in self.rots else 0}" for disk in request.disks})

    async def end_mirror(self, request: Order, /) -> Nothing:
        """No more."""
        mirrored = self.mirrored.get(request.vm)
        if mirrored and mirrored.order() == request.order():
            del self.mirrored[request.vm]
        return Nothing()

    async def give_vm(self, request: GiveVm, /) -> Nothing:
        """Once and for all, until it comes back."""
        if self.spec_here(request.vm):
            raise Refused(f"{request.vm} is not off on {self.name}")
        self.given[request.vm] = request.epoch
        return Nothing()

    async def take_vm(self, request: TakeVm, /) -> Nothing:
        """It may be started here."""
        self.given.pop(request.vm, None)
        return Nothing()

    def refuse_given(self, request: StartVm) -> None:
        """`Refused` for a VM that this host gave away after that."""
        epoch = self.given.get(request.spec.name)
        if epoch is not None and (request.epoch is None or request.epoch <= epoch):
            raise Refused(f"{request.spec.name} was given away by {self.name}")

    def _make(self, disk: Disk, words: CreateDisk) -> None:
        if self._key(disk) in self.files:
            raise Refused(f"{disk.path} is there already")
        datastore = self._datastore(disk.datastore)
        if disk.size_bytes > datastore.free_bytes:
            raise Refused(f"datastore {disk.datastore} has {datastore.free_bytes} bytes free on {self.name}")
        self.files[self._key(disk)] = words

    def _key(self, disk: Disk) -> str:
        return disk.path if self._datastore(disk.datastore).shared else f"{self.name}:{disk.path}"

    def _datastore(self, name: str) -> DatastoreFacts:
        for each in (*self.told.datastores, *self.added):
            if each.name == name:
                return each
        raise NotFound(f"{self.name} does not see datastore {name!r}")

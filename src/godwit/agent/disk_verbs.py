"""The agent's verbs about disks and datastores, each a line to whoever does it."""

from __future__ import annotations

from collections.abc import AsyncIterator

from godwit.agent.datastores import Datastores
from godwit.agent.digesting import Digesting
from godwit.agent.disks import Disks
from godwit.agent.mirroring import Mirroring
from godwit.agent.placing import Placing
from godwit.agent.resting import Resting
from godwit.agent.storage_daemons import StorageDaemons
from godwit.agent.vms import Vms
from godwit.contract.disks import (
    CreateDisk,
    DigestDisks,
    Digested,
    Finished,
    GiveVm,
    MirrorDisks,
    PlaceDisks,
    RemoveDisk,
    Served,
    ServeDisks,
    TakeVm,
    UseDatastores,
)
from godwit.contract.host import Nothing, Order
from godwit.core.migration import Event
from godwit.core.model import Disk


class DiskVerbs:
    """Those of contract.host.Host that are about disks."""

    def __init__(self, vms: Vms) -> None:
        self._making = vms.making
        self._datastores = Datastores(vms.config)
        self._daemons = StorageDaemons(vms.config)
        self._mirroring = Mirroring(vms, self._daemons)
        self._placing = Placing(vms, self._datastores, self._daemons)
        self._disks = Disks(vms, self._datastores, self._mirroring)
        self._resting = Resting(vms)
        self._digesting = Digesting(self._daemons, self._resting)

    async def use_datastores(self, request: UseDatastores, /) -> Nothing:
        """The manager's datastores are known."""
        self._datastores.use(request.datastores)
        return Nothing()

    async def create_disk(self, request: CreateDisk, /) -> Disk:
        """The disk is there."""
        return await self._disks.create(request)

    async def remove_disk(self, request: RemoveDisk, /) -> Nothing:
        """The disk is gone."""
        self._disks.remove(request)
        return Nothing()

    async def place_disks(self, request: PlaceDisks, /) -> Nothing:
        """Files are there for disks that come."""
        async with self._making(request.vm):
            await self._placing.place(request)
        return Nothing()

    async def discard_disks(self, request: Order, /) -> Nothing:
        """They are gone."""
        async with self._making(request.vm):
            await self._placing.discard(request)
        return Nothing()

    async def keep_disks(self, request: Order, /) -> Nothing:
        """They are the VM's."""
        async with self._making(request.vm):
            await self._placing.keep(request)
        return Nothing()

    async def serve_disks(self, request: ServeDisks, /) -> Served:
        """They can be written over the network."""
        async with self._making(request.vm):
            return await self._mirroring.serve(request)

    def mirror_disks(self, request: MirrorDisks, /) -> AsyncIterator[Event]:
        """Disks are copied and kept equal."""
        return self._mirroring.mirror(request)

    async def finish_disks(self, request: Order, /) -> Finished:
        """Their copies are complete."""
        return await self._mirroring.finish(request)

    async def digest_disks(self, request: DigestDisks, /) -> Digested:
        """Their checksums."""
        return await self._digesting.digest(request)

    async def end_mirror(self, request: Order, /) -> Nothing:
        """They are copied no more."""
        await self._mirroring.end(request)
        return Nothing()

    async def give_vm(self, request: GiveVm, /) -> Nothing:
        """A VM that is off is another host's."""
        await self._resting.give(request)
        return Nothing()

    async def take_vm(self, request: TakeVm, /) -> Nothing:
        """A VM that is off is this host's."""
        await self._resting.take(request)
        return Nothing()

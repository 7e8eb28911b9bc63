"""What the manager may ask of a host about disks and datastores; a part of `contract.host.Host`."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Protocol

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
from godwit.contract.order import Nothing, Order
from godwit.core.migration import Event
from godwit.core.model import Disk


class DiskHost(Protocol):
    """Disks made, removed, and on their way.

    place_disks -> serve_disks -> mirror_disks at the source -> (finish_disks, or the hand-over of a VM that runs)
    -> keep_disks, and remove_disk of the old ones at the source. Undo: end_mirror, then discard_disks.
    """

    async def use_datastores(self, request: UseDatastores, /) -> Nothing:
        """Besides those of its configuration, the host's datastores are these, where their directories are there."""
        ...

    async def create_disk(self, request: CreateDisk, /) -> Disk:
        """The disk is there. On failure nothing of it is left; what was there already is never touched."""
        ...

    async def remove_disk(self, request: RemoveDisk, /) -> Nothing:
        """The disk's file is gone; one that was gone already is no error. `Refused` while a QEMU here has it."""
        ...

    async def place_disks(self, request: PlaceDisks, /) -> Nothing:
        """Files for these disks are there, and are nobody's until `keep_disks`. On failure none of them is left."""
        ...

    async def discard_disks(self, request: Order, /) -> Nothing:
        """What `place_disks` made for that order and no VM uses is gone, and whoever served it."""
        ...

    async def keep_disks(self, request: Order, /) -> Nothing:
        """What `place_disks` made is the VM's; nobody serves it any more."""
        ...

    async def serve_disks(self, request: ServeDisks, /) -> Served:
        """Placed disks can be written over the network: those of a waiting QEMU, or opened for it."""
        ...

    def mirror_disks(self, request: MirrorDisks, /) -> AsyncIterator[Event]:
        """Each disk is copied to its new place and kept equal; ends when all are. Closing the stream stops nothing."""
        ...

    async def finish_disks(self, request: Order, /) -> Finished:
        """Each copy is complete, and where its VM stays it is in use. `Failed` names what is not."""
        ...

    async def digest_disks(self, request: DigestDisks, /) -> Digested:
        """What a guest would read on each; nothing serves or copies them any more. `Refused` while their VM runs."""
        ...

    async def end_mirror(self, request: Order, /) -> Nothing:
        """No disk is copied any more for that order; the VM's disks are those it had, or has by `finish_disks`."""
        ...

    async def give_vm(self, request: GiveVm, /) -> Nothing:
        """A VM that is off will not be started here by an older word; `Refused` if it is not off."""
        ...

    async def take_vm(self, request: TakeVm, /) -> Nothing:
        """A VM that is off may be started here."""
        ...

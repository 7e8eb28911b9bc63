"""Files made for disks that are on their way here: nobody's until their VM has come."""

from __future__ import annotations

from pathlib import Path

from godwit.agent.datastores import Datastores
from godwit.agent.local import Place
from godwit.agent.notes import Note
from godwit.agent.storage_daemons import StorageDaemons
from godwit.agent.vms import Vms
from godwit.contract.disks import PlaceDisks
from godwit.contract.host import Order
from godwit.core.errors import Refused
from godwit.core.model import MIB, Disk
from godwit.storage import directory, images

SERVED = "served.json"
"""Where those that are served can be written, and with what key."""


class Placing:
    """What was made is noted before it is, so that whoever comes after us can remove it."""

    def __init__(self, vms: Vms, datastores: Datastores, daemons: StorageDaemons) -> None:
        self._vms = vms
        self._datastores = datastores
        self._daemons = daemons

    async def place(self, request: PlaceDisks) -> None:
        """Empty files are there for these disks; on failure none of them is left."""
        note = self._note(request.vm)
        known = note.read()
        if known == request:
            return
        if known:
            await self.discard(known.order(), anyway=True)  # of a move whose undo never came here
        self._refuse_too_large(request)
        try:
            made: tuple[Disk, ...] = ()
            for disk in request.disks:
                if disk.is_lun:
                    await self._datastores.unit(disk)
                    continue
                place = self._place_of(request.vm, disk)
                directory.refuse_existing(place)
                made = (*made, disk)
                note.write(request.model_copy(update={"disks": made}))
                with directory.claimed(place):
                    await images.make_blank(
                        place, format=disk.format, size_bytes=disk.size_bytes, preallocated=disk.preallocated
                    )
                self._datastores.told_apart(disk.datastore)
            note.write(request)
        except BaseException:
            await self.discard(request.order())
            raise

    async def discard(self, order: Order, *, anyway: bool = False) -> None:
        """What was made for that order is gone, but for what its VM uses by now."""
        note = self._note(order.vm)
        known = note.read()
        if known and (anyway or known.order() == order.order()):
            await self._daemons.end(order.vm)
            used = self._used(order.vm)
            for disk in known.disks:
                if disk.path not in used and not disk.is_lun:
                    directory.remove(Path(disk.path))
            self._forget(order.vm)

    async def keep(self, order: Order) -> None:
        """What was made for that order is its VM's."""
        known = self._note(order.vm).read()
        if known and known.order() == order.order():
            await self._daemons.end(order.vm)
            self._forget(order.vm)

    def _forget(self, vm: str) -> None:
        self._note(vm).drop()
        (Place.of(self._vms.config, vm).state_dir / SERVED).unlink(missing_ok=True)

    def _note(self, vm: str) -> Note[PlaceDisks]:
        return Note(Place.of(self._vms.config, vm).state_dir / "placed.json", PlaceDisks)

    def _place_of(self, vm: str, disk: Disk) -> Path:
        datastore = self._datastores.path(disk.datastore)
        place = directory.place_of(datastore, vm=vm, disk=disk.name, format=disk.format)
        if str(place) != disk.path:
            raise Refused(
                f"datastore {disk.datastore} of {self._vms.config.host} is {datastore} by now, and disk {disk.name} of "
                f"{vm} was to go to {disk.path}: start the migration again",
                "datastore-moved",
            )
        return place

    def _refuse_too_large(self, request: PlaceDisks) -> None:
        """Looked at again, because a check is older than what it checked."""
        files = [disk for disk in request.disks if not disk.is_lun]
        for name in {disk.datastore for disk in files}:
            needed = sum(disk.size_bytes for disk in files if disk.datastore == name)
            if needed > (free := directory.free_bytes(self._datastores.path(name))):
                raise Refused(
                    f"the disks of {request.vm} need {needed // MIB} MiB, and datastore {name} has {free // MIB} MiB "
                    f"free on {self._vms.config.host}: free some, or choose another datastore",
                    "disk-full",
                )

    def _used(self, vm: str) -> set[str]:
        here = self._vms.has(vm) and self._vms.get(vm).is_alive
        return {volume.path for volume in self._vms.get(vm).passport.spec.volumes} if here else set()

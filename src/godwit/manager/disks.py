"""The disks of VMs: what a new VM needs, made and removed on a host that sees their datastore."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

from godwit.contract.disks import Blank, CreateDisk, FromImage, RemoveDisk, Seed, UefiVariables
from godwit.contract.store import VmRecord
from godwit.core.errors import GodwitError, Invalid, Refused, Unreachable
from godwit.core.model import MIB, Disk, DiskFormat, Firmware, FirmwareKind, VmSpec
from godwit.core.placement import free_unit
from godwit.core.resources import RootDiskRequest, VmRequest
from godwit.manager import cloud_init
from godwit.manager.fleet import Fleet
from godwit.manager.records import Records

LOG = logging.getLogger(__name__)

ROOT = "root"
SEED = "cloud-init"
VARIABLES = "uefi-variables"
SMALL_BYTES = MIB
"""Seeds and UEFI variables take less."""


def is_disk_image(image: str) -> bool:
    """It is named by its path, not by a name of the configuration."""
    return image.startswith("/")


def check(request: VmRequest) -> None:
    """`Invalid` for disks that contradict each other or what the VM boots."""
    if not is_disk_image(request.image):
        for name, what in (("root_disk", "the root disk"), ("cloud_init", "cloud-init")):
            if getattr(request, name) is not None:
                raise Invalid(
                    f"what {what} shall be needs a disk image: name one by its path (--image, or `image` in a file)",
                    "disk-image",
                )
        if request.firmware is FirmwareKind.uefi:
            raise Invalid("UEFI needs a disk image to boot: give `image` as an absolute path", "disk-image")
    taken = Counter([each.name for each in request.disks] + [ROOT, SEED, VARIABLES])
    twice = [name for name, count in taken.items() if count > 1]
    if twice:
        raise Invalid(f"{request.name} has two disks named {twice[0]!r}: choose another name", "disk-name")


def datastores(request: VmRequest) -> tuple[str, ...]:
    """All that its disks lie in."""
    home = (_root(request).datastore,) if is_disk_image(request.image) else ()
    return (*home, *(each.datastore for each in request.disks))


def orders(request: VmRequest, spec: VmSpec) -> list[CreateDisk]:
    """What is to be made, in the order in which the guest finds it; variables last."""
    found = [
        CreateDisk(
            vm=spec.name,
            name=each.name,
            datastore=each.datastore,
            format=each.format,
            clustered=each.clustered,
            preallocated=each.preallocated,
            content=Blank(size_bytes=each.size_bytes),
        )
        for each in request.disks
    ]
    return [*_from_image(request, spec), *found, *_variables(request)] if is_disk_image(request.image) else found


def _root(request: VmRequest) -> RootDiskRequest:
    return request.root_disk or RootDiskRequest()


def _from_image(request: VmRequest, spec: VmSpec) -> list[CreateDisk]:
    root = _root(request)
    content = FromImage(path=request.image, size_bytes=root.size_bytes, link=root.link)
    format = DiskFormat.qcow2 if root.link else root.format
    made = [CreateDisk(vm=spec.name, name=ROOT, datastore=root.datastore, format=format, content=content)]
    if request.cloud_init:
        seed = Seed(files=cloud_init.files(spec, request.cloud_init))
        made.append(CreateDisk(vm=spec.name, name=SEED, datastore=root.datastore, content=seed))
    return made


def _variables(request: VmRequest) -> list[CreateDisk]:
    if request.firmware is FirmwareKind.bios:
        return []
    home = _root(request).datastore
    return [CreateDisk(vm=request.name, name=VARIABLES, datastore=home, content=UefiVariables())]


class Disks:
    """Each disk is in its VM's record as soon as it is there."""

    def __init__(self, records: Records, fleet: Fleet) -> None:
        self._records = records
        self._fleet = fleet

    async def make(self, record: VmRecord, wanted: list[CreateDisk]) -> VmRecord:
        """The VM with these disks; on failure its record has those that were made."""
        for order in wanted:
            with self._promised(order, record.host) as promised:
                disk = await self._fleet.host(record.host).create_disk(promised)
                spec = _with(record.spec, disk)
                record = await self._records.change_vm(record.name, spec=spec)
        return record

    @contextmanager
    def _promised(self, order: CreateDisk, host: str) -> Iterator[CreateDisk]:
        """The order; in an iSCSI target with the unit that becomes the disk, which nobody else gets meanwhile."""
        facts = self._fleet.state(host).facts
        seen = facts.datastores if facts else ()
        there = next((each for each in seen if each.name == order.datastore and each.kind == "iscsi"), None)
        if there is None:
            yield order
            return
        unit = free_unit(there, _size_bytes(order), self._records.units_in_use())
        if not unit:
            raise Refused(
                f"datastore {order.datastore} has no unit for disk {order.name} of {order.vm} that holds "
                f"{_size_bytes(order) // MIB} MiB and is nobody's: let the target's owner add one, or choose another "
                "datastore",
                "no-unit",
            )
        self._records.promised_units.add(unit)
        try:
            yield order.model_copy(update={"unit": unit, "format": DiskFormat.raw})
        finally:
            self._records.promised_units.discard(unit)

    async def remove(self, record: VmRecord) -> None:
        """Nothing of the VM's lies in a datastore; on failure some may be gone."""
        for disk in record.spec.volumes:
            host = await self._a_host_with(record, disk)
            await self._fleet.host(host).remove_disk(RemoveDisk(vm=record.name, disk=disk))

    async def _a_host_with(self, record: VmRecord, disk: Disk) -> str:
        """The VM's own if it answers, else one that shares the datastore with it."""
        try:
            await self._fleet.facts(record.host)
            return record.host
        except GodwitError as error:
            for other in await self._fleet.look():
                if any(each.name == disk.datastore and each.shared for each in other.datastores):
                    return other.host
            raise Unreachable(
                f"disk {disk.name} of {record.name} lies on {record.host}, which does not answer: try again later"
            ) from error


def _size_bytes(order: CreateDisk) -> int:
    """What it will hold at most; `Invalid` for an image of which only its host knows how large it is."""
    match order.content:
        case Blank(size_bytes=size_bytes):
            return size_bytes
        case FromImage(size_bytes=int() as size_bytes):
            return size_bytes
        case FromImage():
            raise Invalid(
                f"disk {order.name} of {order.vm} becomes a unit of {order.datastore}: say how large it shall be, as "
                "with --disk-size 10GiB",
                "disk-size",
            )
    return SMALL_BYTES


def _with(spec: VmSpec, disk: Disk) -> VmSpec:
    if disk.name == VARIABLES:
        return spec.model_copy(update={"firmware": Firmware(variables=disk)})
    return spec.model_copy(update={"disks": (*spec.disks, disk)})

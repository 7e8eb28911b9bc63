"""Disks made and removed in this host's datastores."""

from __future__ import annotations

import os.path
import tempfile
from pathlib import Path

from godwit.agent.datastores import Datastores
from godwit.agent.mirroring import Mirroring
from godwit.agent.vms import Vms
from godwit.contract.disks import Blank, CreateDisk, FromImage, RemoveDisk, Seed, UefiVariables
from godwit.core.errors import Failed, NotFound, Refused
from godwit.core.model import MIB, Disk, DiskFormat
from godwit.storage import directory, images, uefi
from godwit.storage.seed import seed


class Disks:
    """The files of VMs; each lies at the place that its VM's and its own name give it."""

    def __init__(self, vms: Vms, datastores: Datastores, mirroring: Mirroring) -> None:
        self._vms = vms
        self._mirroring = mirroring
        self._datastores = datastores

    async def create(self, request: CreateDisk) -> Disk:
        """The disk is there. On failure nothing of it is left; what was there already is never touched.

        A unit of an iSCSI target is filled anew; on failure nobody can tell what it holds, and nobody has it.
        """
        if request.unit:
            return await self._on_unit(request)
        datastore = self._datastores.path(request.datastore)
        place = directory.place_of(datastore, vm=request.vm, disk=request.name, format=request.format)
        match request.content:
            case Blank(size_bytes=size_bytes):
                self._refuse_too_large(request, size_bytes)
                with directory.claimed(place):
                    await images.make_blank(
                        place, format=request.format, size_bytes=size_bytes, preallocated=request.preallocated
                    )
            case FromImage():
                size_bytes = await self._from_image(request, request.content, place)
            case Seed(files=files):
                size_bytes = self._write(request, place, seed(files))
            case UefiVariables():
                size_bytes = self._write(request, place, self._uefi_variables())
        self._datastores.told_apart(request.datastore)
        return Disk(
            name=request.name,
            datastore=request.datastore,
            path=str(place),
            format=request.format,
            size_bytes=size_bytes,
            read_only=isinstance(request.content, Seed),
            clustered=request.clustered,
            preallocated=request.preallocated,
        )

    def remove(self, request: RemoveDisk) -> None:
        """The disk's file is gone; `Refused` while a QEMU here has it, and for any other file."""
        disk = request.disk
        is_alive = any(vm.name == request.vm and vm.is_alive for vm in self._vms.all())
        if is_alive and not self._mirroring.is_old(request.vm, disk):
            raise Refused(f"{request.vm} uses its disk {disk.name} on {self._host}: stop it first", "disk-in-use")
        if disk.is_lun:
            return  # the unit is free once no VM has it; whatever is put there next covers all of it
        datastore = self._datastores.path(disk.datastore)
        place = directory.place_of(datastore, vm=request.vm, disk=disk.name, format=disk.format)
        if str(place) != disk.path:
            raise Refused(
                f"disk {disk.name} of {request.vm} lay at {disk.path}, but datastore {disk.datastore} of {self._host} "
                f"is {datastore}: let its agent's configuration name the old path",
                "datastore-moved",
            )
        directory.remove(place)

    async def _from_image(self, request: CreateDisk, content: FromImage, place: Path) -> int:
        image, size_bytes = await self._looked_at(content)
        self._refuse_too_large(request, size_bytes)
        if not content.link:
            with directory.claimed(place):
                await images.copy(image, place, format=request.format, size_bytes=size_bytes)
            return size_bytes
        datastore = self._datastores.path(request.datastore)
        if request.format is not DiskFormat.qcow2 or not image.path.resolve().is_relative_to(datastore.resolve()):
            raise Refused(
                f"{content.path} cannot be linked: only a qcow2 disk can link to an image, which must lie in the same "
                f"datastore ({request.datastore} is {datastore}); move it there, or let it be copied",
                "link",
            )
        with directory.claimed(place):
            await images.link(image, place, size_bytes=size_bytes)
        return size_bytes

    async def _looked_at(self, content: FromImage) -> tuple[images.DiskImage, int]:
        """The image, and how large the disk is."""
        if not os.path.isfile(content.path):  # noqa: ASYNC240 - as quick as what follows is slow
            raise NotFound(
                f"{self._host} has no file {content.path}: put the disk image where hosts see it", "no-image"
            )
        image = await images.look(Path(content.path))
        size_bytes = content.size_bytes or image.size_bytes
        if size_bytes < image.size_bytes:
            raise Refused(
                f"{content.path} is a disk of {image.size_bytes // MIB} MiB and cannot shrink to {size_bytes // MIB}: "
                "ask for more, or leave the size out",
                "disk-size",
            )
        return image, size_bytes

    async def _on_unit(self, request: CreateDisk) -> Disk:
        source, size_bytes = await self._content(request)
        disk = Disk(
            name=request.name,
            datastore=request.datastore,
            path=request.unit,
            size_bytes=size_bytes,
            read_only=isinstance(request.content, Seed),
            clustered=request.clustered,
            preallocated=request.preallocated,
        )
        await self._datastores.unit(disk)
        if isinstance(source, bytes):
            with tempfile.NamedTemporaryFile(dir=self._vms.config.state_dir) as file:
                directory.write(Path(file.name), source)
                image = images.DiskImage(path=Path(file.name), format=DiskFormat.raw, size_bytes=size_bytes)
                await images.fill(disk.path, size_bytes=size_bytes, source=image)
        else:
            await images.fill(disk.path, size_bytes=size_bytes, source=source)
        return disk

    async def _content(self, request: CreateDisk) -> tuple[images.DiskImage | bytes | None, int]:
        """What a unit is to hold, none for zeros, and how much that is."""
        match request.content:
            case Blank(size_bytes=size_bytes):
                return None, size_bytes
            case FromImage(link=True):
                raise Refused(
                    f"disk {request.name} of {request.vm} cannot be linked to its image, because {request.datastore} "
                    "is an iSCSI target: let it be copied",
                    "link",
                )
            case FromImage():
                return await self._looked_at(request.content)
            case Seed(files=files):
                content = seed(files)
            case UefiVariables():
                content = self._uefi_variables()
        return content, len(content)

    def _write(self, request: CreateDisk, place: Path, content: bytes) -> int:
        self._refuse_too_large(request, len(content))
        with directory.claimed(place):
            directory.write(place, content)
        return len(content)

    def _refuse_too_large(self, request: CreateDisk, size_bytes: int) -> None:
        """Sparse files would let more be promised than there is, and the VM would find out."""
        free = directory.free_bytes(self._datastores.path(request.datastore))
        if size_bytes > free:
            raise Refused(
                f"disk {request.name} of {request.vm} needs {size_bytes // MIB} MiB, and datastore {request.datastore} "
                f"has {free // MIB} MiB free on {self._host}: choose a smaller disk or another datastore",
                "disk-full",
            )

    def _uefi_variables(self) -> bytes:
        firmware = uefi.find()
        if firmware is None:
            raise Refused(f"{self._host} has no UEFI firmware: install the package {uefi.PACKAGE} there", "no-uefi")
        try:
            return Path(firmware.variables).read_bytes()
        except OSError as error:
            raise Failed(f"{firmware.variables} cannot be read ({error.strerror}): install it again") from error

    @property
    def _host(self) -> str:
        return self._vms.config.host

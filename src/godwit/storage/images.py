"""Disk images: looked at, copied, linked and grown, by qemu-img."""

from __future__ import annotations

import json
from pathlib import Path

from godwit.core.errors import Failed, Refused
from godwit.core.model import DiskFormat, Value
from godwit.host import process

LOOK_TIMEOUT_S = 30.0
COPY_TIMEOUT_S = 3500.0
_BOOT_SIGNATURE = slice(510, 512)


class DiskImage(Value):
    """What a disk image is."""

    path: Path
    format: DiskFormat
    size_bytes: int
    """As the guest sees it."""


async def look(path: Path) -> DiskImage:
    """The image at that path; `Refused` for what no VM should be made from.

    An image that names further files is refused: they could be any file of this host, and the guest would read them.
    """
    try:
        told = json.loads(await _qemu_img("info", "--output=json", str(path), timeout_s=LOOK_TIMEOUT_S))
    except Failed as error:
        if error.code == "absent":
            raise
        raise Refused(f"{path} is no disk image that can be used: {error.message}", "bad-image") from error
    if told["format"] not in set(DiskFormat):
        raise Refused(f"{path} is a {told['format']} image: convert it first with qemu-img convert -O qcow2", "format")
    if "backing-filename" in told or "data-file" in told.get("format-specific", {}).get("data", {}):
        raise Refused(f"{path} needs further files: make it whole first with qemu-img convert -O qcow2", "bad-image")
    if told["format"] == DiskFormat.raw and not _is_bootable(path):
        raise Refused(f"{path} is no disk image: it is not qcow2, and as a raw disk it cannot be booted", "bad-image")
    return DiskImage(path=path, format=DiskFormat(told["format"]), size_bytes=told["virtual-size"])


async def make_blank(place: Path, *, format: DiskFormat, size_bytes: int, preallocated: bool = False) -> None:
    """The file is a disk of zeros that takes hardly any room, or has all that it will ever need: where the file system
    has no fallocate (NFS before 4.2), every block of that is written.
    """
    room, limit_s = (("-o", "preallocation=falloc"), COPY_TIMEOUT_S) if preallocated else ((), LOOK_TIMEOUT_S)
    await _qemu_img("create", "-q", "-f", format, *room, str(place), str(size_bytes), timeout_s=limit_s)


async def copy(image: DiskImage, place: Path, *, format: DiskFormat, size_bytes: int) -> None:
    """The file is a copy of the image, grown to the size; what is zeros in the image takes no room."""
    words = ("-q", "-t", "writeback", "-f", image.format, "-O", format, str(image.path), str(place))
    await _qemu_img("convert", *words, timeout_s=COPY_TIMEOUT_S)
    if size_bytes > image.size_bytes:
        await _qemu_img("resize", "-q", "-f", format, str(place), str(size_bytes), timeout_s=LOOK_TIMEOUT_S)


async def link(image: DiskImage, place: Path, *, size_bytes: int) -> None:
    """The file is a qcow2 disk that reads from the image what has not been written yet."""
    words = ("-q", "-f", "qcow2", "-b", str(image.path), "-F", image.format, str(place), str(size_bytes))
    await _qemu_img("create", *words, timeout_s=LOOK_TIMEOUT_S)


async def fill(unit: str, *, size_bytes: int, source: DiskImage | None = None) -> None:
    """The unit's first bytes are the image's, and zeros up to that size, whatever it held before."""
    zeros = json.dumps({"driver": "null-co", "size": size_bytes, "read-zeroes": True})
    onto = ("convert", "-q", "-n", "-t", "none", "-O", "raw")
    await _qemu_img(*onto, f"json:{zeros}", unit, timeout_s=COPY_TIMEOUT_S)
    if source:
        await _qemu_img(*onto, "-f", source.format, str(source.path), unit, timeout_s=COPY_TIMEOUT_S)


def _is_bootable(path: Path) -> bool:
    """A BIOS and a GPT disk both end their first sector in 55 AA."""
    with path.open("rb") as file:
        return file.read(512)[_BOOT_SIGNATURE] == b"\x55\xaa"


async def _qemu_img(*words: str, timeout_s: float) -> str:
    return await process.run(["qemu-img", *words], timeout_s=timeout_s)

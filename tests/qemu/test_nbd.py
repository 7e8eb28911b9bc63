"""Checksums of disks as a guest reads them, by a real storage daemon."""

from __future__ import annotations

import asyncio
import os
import subprocess
from pathlib import Path

import pytest

from godwit.core.errors import Failed
from godwit.core.model import MIB, Disk, DiskFormat
from godwit.qemu import mirror, nbd, storage_daemon
from godwit.qemu.blocks import open_disk

SIZE = 40 * MIB
"""More than is read at once, and not a multiple of it."""


def digests(directory: Path, *disks: Disk) -> list[str]:
    async def story() -> list[str]:
        daemon = await storage_daemon.start(directory / "run", qemu="qemu-system-x86_64", env={})
        try:
            for number, disk in enumerate(disks):
                await open_disk(daemon.monitor, f"disk{number}", disk)
            await mirror.serve_here(daemon.monitor, disks, directory / "sock")
            found = [await asyncio.to_thread(nbd.digest, directory / "sock", disk.name) for disk in disks]
            with pytest.raises(Failed, match="refuses"):
                await asyncio.to_thread(nbd.digest, directory / "sock", "other")
            return found
        finally:
            await daemon.retire()

    return asyncio.run(story())


def a_disk(path: Path, name: str, format: DiskFormat = DiskFormat.raw) -> Disk:
    return Disk(name=name, datastore="a", path=str(path), size_bytes=SIZE, read_only=True, format=format)


def test_equal_disks_have_equal_digests_however_they_are_kept(tmp_path: Path) -> None:
    raw, packed, full, other, short = (tmp_path / name for name in ("raw", "packed", "full", "other", "short"))
    with raw.open("wb") as file:
        file.truncate(SIZE)
        file.seek(17 * MIB + 4096)
        file.write(os.urandom(3 * MIB))
    subprocess.run(["qemu-img", "convert", "-O", "qcow2", str(raw), str(packed)], check=True)
    content = bytearray(raw.read_bytes())
    full.write_bytes(content)  # its zeros take room
    content[17 * MIB + 5000] ^= 1
    other.write_bytes(content)
    with short.open("wb") as file:
        file.truncate(SIZE)

    found = digests(
        tmp_path,
        a_disk(raw, "raw"),
        a_disk(packed, "packed", DiskFormat.qcow2),
        a_disk(full, "full"),
        a_disk(other, "other-byte"),
        a_disk(short, "zeros"),
    )

    assert found[0] == found[1] == found[2]
    assert len(set(found)) == 3

"""An iSCSI target, a real one, as libiscsi's tools and QEMU's own initiator see it."""

from __future__ import annotations

import asyncio
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.ports import free_ports

from godwit.core.errors import Failed
from godwit.core.model import MIB, Disk, DiskFormat, DiskMove
from godwit.qemu import mirror, storage_daemon
from godwit.qemu.blocks import node_of, open_disk
from godwit.storage import images, iscsi

pytestmark = [
    pytest.mark.root,
    pytest.mark.skipif(not shutil.which("tgtd") or not shutil.which("iscsi-ls"), reason="needs tgt and libiscsi-bin"),
]

NAME = "iqn.2026-11.example:store"


@pytest.fixture(scope="module")
def target(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The URL of a target with units 1 (16 MiB) and 2 (32 MiB)."""
    (port,) = free_ports(1)
    directory, control = tmp_path_factory.mktemp("target"), str(port)
    tgtd = subprocess.Popen(["tgtd", "-f", "-C", control, "--iscsi", f"portal=127.0.0.1:{port}"])
    try:
        make_target(directory, control)
        yield f"iscsi://127.0.0.1:{port}/{NAME}"
    finally:
        tgtd.kill()
        tgtd.wait()


def make_target(directory: Path, control: str) -> None:
    def order(*words: str, tries: int = 1) -> None:
        command = ["tgtadm", "-C", control, "--lld", "iscsi", *words]
        while subprocess.run(command, capture_output=True).returncode:
            tries -= 1
            assert tries > 0, words
            time.sleep(0.1)

    order("--op", "new", "--mode", "target", "--tid", "1", "-T", NAME, tries=300)
    for number in (1, 2):
        file = directory / str(number)
        file.touch()
        with file.open("r+b") as made:
            made.truncate(number * 16 * MIB)
        unit = ("--mode", "logicalunit", "--tid", "1", "--lun", str(number))
        order("--op", "new", *unit, "-b", str(file))
        order("--op", "update", *unit, "--params", f"scsi_sn=unit-{number},thin_provisioning=1")
    order("--op", "bind", "--mode", "target", "--tid", "1", "-I", "ALL")


def test_its_units_are_known_by_number_size_and_serial(target: str) -> None:
    found = asyncio.run(iscsi.luns(target))

    assert [(each.number, each.size_bytes, each.serial) for each in found] == [
        (1, 16 * MIB, "unit-1"),
        (2, 32 * MIB, "unit-2"),
    ]


def test_a_unit_becomes_a_disk_that_shows_nothing_of_what_it_held(target: str, tmp_path: Path) -> None:
    """Zeros, or an image and zeros after it."""
    whole = ["qemu-img", "convert", "-O", "raw", f"{target}/1"]
    used = tmp_path / "used"
    used.write_bytes(b"old" * (4 * MIB))
    image = tmp_path / "image.raw"
    image.write_bytes(b"new" * 1024)
    unit = f"{target}/1"
    found = images.DiskImage(path=image, format=DiskFormat.raw, size_bytes=3072)

    for source in (None, found):
        subprocess.run(["qemu-img", "convert", "-n", "-O", "raw", str(used), unit], check=True)
        asyncio.run(images.fill(unit, size_bytes=8 * MIB, source=source))
        subprocess.run([*whole, str(tmp_path / "now")], check=True)
        now = (tmp_path / "now").read_bytes()
        expected = (image.read_bytes() if source else b"").ljust(8 * MIB, b"\0")
        assert now[: 8 * MIB] == expected
        assert now[8 * MIB : 9 * MIB] == used.read_bytes()[8 * MIB : 9 * MIB]


def test_a_target_that_is_not_there_has_failed(target: str) -> None:
    with pytest.raises(Failed):
        asyncio.run(iscsi.luns("iscsi://127.0.0.1:1/nowhere"))
    assert asyncio.run(iscsi.luns(target.replace(NAME, "iqn.2026-11.example:other"))) == ()


def test_a_disk_goes_to_a_unit_with_room_to_spare_and_back(target: str, tmp_path: Path) -> None:
    """As qcow2 there, and as raw back: what the guest sees is the same, and as large as before."""
    size = 12 * MIB
    there = Disk(name="data", datastore="san", path=f"{target}/2", size_bytes=size)
    file = Disk(name="data", datastore="a", path=str(tmp_path / "a.raw"), size_bytes=size)
    back = Disk.model_validate(there.model_dump() | {"path": str(tmp_path / "b.qcow2"), "format": "qcow2"})
    with open(file.path, "wb") as made:
        made.truncate(size)
        made.seek(4 * MIB)
        made.write(bytes(range(256)) * 4096)
    subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", back.path, str(size)], check=True)

    async def story() -> None:
        daemon = await storage_daemon.start(tmp_path / "run", qemu="qemu-system-x86_64", env={})
        try:
            for number, (disk, to) in enumerate(((file, there), (there, back))):
                move = DiskMove(disk=disk, to=to)
                if number == 0:
                    await open_disk(daemon.monitor, "disk0", disk)
                await mirror.start(daemon.monitor, move, server=None, encrypted=False, bytes_per_s=0)
                while not all(each.is_ready for each in await mirror.look(daemon.monitor)):  # noqa: ASYNC110
                    await asyncio.sleep(0.05)
                assert await node_of(daemon.monitor, to) == mirror.copy_node(move)
                assert [each.error for each in await mirror.finish(daemon.monitor, timeout_s=60)] == [None]
                for each in await mirror.look(daemon.monitor):
                    await daemon.monitor.execute("job-dismiss", id=f"mirror-{each.disk}")
        finally:
            await daemon.retire()

    asyncio.run(story())
    subprocess.run(["qemu-img", "compare", "-q", file.path, back.path], check=True)

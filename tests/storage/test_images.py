"""Disk images by the real qemu-img."""

from __future__ import annotations

import json
import subprocess
from asyncio import run
from collections.abc import Iterator
from pathlib import Path

import pytest

from godwit.core.errors import Failed, Refused
from godwit.core.model import MIB, DiskFormat
from godwit.rpc.remote import LONGEST_S
from godwit.storage import images
from godwit.storage.directory import claimed

BOOT_SECTOR = bytes(510) + b"\x55\xaa"


def qemu_img(*words: str) -> str:
    return subprocess.run(["qemu-img", *words], check=True, capture_output=True, text=True).stdout


def described(path: Path) -> dict[str, object]:
    told: dict[str, object] = json.loads(qemu_img("info", "--output=json", str(path)))
    return told


@pytest.fixture
def raw(tmp_path: Path) -> Path:
    """A bootable disk of 4 MiB whose last sector holds a word."""
    path = tmp_path / "image.raw"
    path.write_bytes(BOOT_SECTOR + bytes(4 * MIB - 1024) + b"godwit".ljust(512, b"."))
    return path


@pytest.fixture
def qcow2(raw: Path) -> Path:
    qemu_img("convert", "-f", "raw", "-O", "qcow2", str(raw), str(raw.with_suffix(".qcow2")))
    return raw.with_suffix(".qcow2")


def test_both_formats_are_recognized(raw: Path, qcow2: Path) -> None:
    assert run(images.look(raw)) == images.DiskImage(path=raw, format=DiskFormat.raw, size_bytes=4 * MIB)
    assert (run(images.look(qcow2))).format is DiskFormat.qcow2


def test_what_cannot_be_booted_is_no_disk_image(tmp_path: Path) -> None:
    (tmp_path / "notes").write_text("not a disk\n" * 100)
    with pytest.raises(Refused, match="notes is no disk image"):
        run(images.look(tmp_path / "notes"))


def test_an_image_that_reads_other_files_is_refused(qcow2: Path, tmp_path: Path) -> None:
    sly = tmp_path / "sly.qcow2"
    qemu_img("create", "-q", "-f", "qcow2", "-b", str(qcow2), "-F", "qcow2", str(sly))
    with pytest.raises(Refused, match="needs further files"):
        run(images.look(sly))
    split = tmp_path / "split.qcow2"
    qemu_img("create", "-q", "-f", "qcow2", "-o", f"data_file={tmp_path}/data,data_file_raw=on", str(split), "1M")
    with pytest.raises(Refused, match="needs further files"):
        run(images.look(split))


def test_another_format_is_named_with_what_to_do(raw: Path, tmp_path: Path) -> None:
    qemu_img("convert", "-f", "raw", "-O", "vmdk", str(raw), str(tmp_path / "disk.vmdk"))
    with pytest.raises(Refused, match="is a vmdk image: convert it first"):
        run(images.look(tmp_path / "disk.vmdk"))


def test_a_broken_image_is_refused(qcow2: Path) -> None:
    qcow2.write_bytes(qcow2.read_bytes()[:20])
    with pytest.raises(Refused, match="is no disk image"):
        run(images.look(qcow2))


@pytest.mark.parametrize("format", list(DiskFormat))
def test_a_blank_disk_takes_no_room(tmp_path: Path, format: DiskFormat) -> None:
    run(images.make_blank(tmp_path / "disk", format=format, size_bytes=1 << 30))

    assert described(tmp_path / "disk")["virtual-size"] == 1 << 30
    assert (tmp_path / "disk").stat().st_blocks * 512 < MIB


@pytest.mark.parametrize("format", list(DiskFormat))
def test_a_preallocated_one_takes_all(tmp_path: Path, format: DiskFormat) -> None:
    run(images.make_blank(tmp_path / "disk", format=format, size_bytes=MIB, preallocated=True))
    assert (tmp_path / "disk").stat().st_blocks * 512 >= MIB


def test_what_may_have_to_be_written_has_time_for_that(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    given: list[float] = []

    async def look(*_: str, timeout_s: float) -> str:
        given.append(timeout_s)
        return ""

    monkeypatch.setattr(images, "_qemu_img", look)
    for preallocated in (False, True):
        run(images.make_blank(tmp_path / "disk", format=DiskFormat.raw, size_bytes=MIB, preallocated=preallocated))

    assert given == [images.LOOK_TIMEOUT_S, images.COPY_TIMEOUT_S]
    assert given[1] < LONGEST_S["place_disks"]
    assert given[1] < LONGEST_S["create_disk"]


@pytest.mark.parametrize("format", list(DiskFormat))
def test_a_copy_holds_what_the_image_holds_and_is_grown(qcow2: Path, tmp_path: Path, format: DiskFormat) -> None:
    copy = tmp_path / "copy"
    run(images.copy(run(images.look(qcow2)), copy, format=format, size_bytes=64 * MIB))

    assert described(copy)["virtual-size"] == 64 * MIB
    assert "backing-filename" not in described(copy)
    qemu_img("convert", "-f", format, "-O", "raw", str(copy), str(tmp_path / "flat"))
    flat = (tmp_path / "flat").read_bytes()
    assert flat[4 * MIB - 512 : 4 * MIB].startswith(b"godwit")
    assert copy.stat().st_blocks * 512 < 8 * MIB


def test_a_link_keeps_only_what_differs(qcow2: Path, tmp_path: Path) -> None:
    disk = tmp_path / "disk.qcow2"
    run(images.link(run(images.look(qcow2)), disk, size_bytes=64 * MIB))

    assert described(disk)["virtual-size"] == 64 * MIB
    assert described(disk)["full-backing-filename"] == str(qcow2)


@pytest.fixture
def full_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 2 MiB."""
    place = tmp_path / "small"
    place.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=2m", "none", str(place)], check=True)
    yield place
    subprocess.run(["umount", str(place)], check=True)


@pytest.mark.root
def test_when_the_disk_is_full_the_copy_fails_and_nothing_is_left(raw: Path, full_disk: Path) -> None:
    raw.write_bytes(BOOT_SECTOR + b"\xaa" * (4 * MIB - 512))
    place = full_disk / "web-1" / "root.raw"
    image = run(images.look(raw))

    with pytest.raises(Failed, match="No space left on device"), claimed(place):
        run(images.copy(image, place, format=DiskFormat.raw, size_bytes=4 * MIB))
    assert list(full_disk.iterdir()) == []

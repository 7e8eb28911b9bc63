"""Disks on a real directory, with the real qemu-img: what is checked before anything is made."""

from __future__ import annotations

import asyncio
import json
import subprocess
from pathlib import Path

import pytest

from godwit.agent.datastores import Datastores
from godwit.agent.disks import Disks
from godwit.agent.mirroring import Mirroring
from godwit.agent.room import Room
from godwit.agent.storage_daemons import StorageDaemons
from godwit.agent.vms import Vms
from godwit.contract.disks import Blank, Content, CreateDisk, FromImage, RemoveDisk, Seed
from godwit.core.config import AgentConfig, DatastoreConfig, Tls
from godwit.core.errors import GodwitError, NotFound, Refused
from godwit.core.model import MIB, Datastore, Disk, DiskFormat
from godwit.storage.directory import TOKEN


@pytest.fixture
def store(tmp_path: Path) -> Path:
    (tmp_path / "store").mkdir()
    return tmp_path / "store"


@pytest.fixture
def disks(tmp_path: Path, store: Path) -> Disks:
    config = AgentConfig(
        host="host-a",
        listen=("127.0.0.1:1",),
        migration_address="127.0.0.1",
        state_dir=tmp_path / "state",
        tls=Tls(ca=tmp_path, certificate=tmp_path, key=tmp_path),
        datastores={"default": DatastoreConfig(path=store)},
    )
    vms = Vms(config, Room("host-a", 1024))
    return Disks(vms, Datastores(config), Mirroring(vms, StorageDaemons(config)))


@pytest.fixture
def image(tmp_path: Path) -> Path:
    """A bootable qcow2 image of 4 MiB outside of the datastore."""
    (tmp_path / "image.raw").write_bytes(bytes(510) + b"\x55\xaa" + bytes(4 * MIB - 512))
    path = tmp_path / "image.qcow2"
    subprocess.run(["qemu-img", "convert", "-O", "qcow2", str(path.with_suffix(".raw")), str(path)], check=True)
    return path


def create(disks: Disks, content: Content, format: DiskFormat = DiskFormat.raw) -> Disk:
    order = CreateDisk(vm="web-1", name="root", datastore="default", format=format, content=content)
    return asyncio.run(disks.create(order))


def test_a_copy_of_an_image_is_as_large_as_asked_for(disks: Disks, store: Path, image: Path) -> None:
    disk = create(disks, FromImage(path=str(image), size_bytes=64 * MIB))

    assert disk.path == str(store / "web-1" / "root.raw")
    assert disk.size_bytes == 64 * MIB == Path(disk.path).stat().st_size


def test_without_a_size_it_is_as_large_as_the_image(disks: Disks, image: Path) -> None:
    assert create(disks, FromImage(path=str(image)), DiskFormat.qcow2).size_bytes == 4 * MIB


def test_a_seed_is_read_only(disks: Disks) -> None:
    disk = create(disks, Seed(files={"meta-data": "{}"}))

    assert disk.read_only
    assert disk.size_bytes == Path(disk.path).stat().st_size


def test_an_image_in_the_datastore_can_be_linked(disks: Disks, store: Path, image: Path) -> None:
    inside = image.rename(store / "image.qcow2")
    disk = create(disks, FromImage(path=str(inside), link=True), DiskFormat.qcow2)

    told = json.loads(subprocess.check_output(["qemu-img", "info", "--output=json", disk.path]))
    assert told["backing-filename"] == str(inside)


def test_what_cannot_be_made_leaves_nothing(disks: Disks, store: Path, image: Path) -> None:
    cases: list[tuple[Content, type[GodwitError], str]] = [
        (FromImage(path=str(store / "absent")), NotFound, "host-a has no file .*/absent"),
        (FromImage(path=str(image), size_bytes=MIB), Refused, "is a disk of 4 MiB and cannot shrink to 1"),
        (FromImage(path=str(image), link=True), Refused, "cannot be linked: .* must lie in the same datastore"),
        (FromImage(path=str(image), size_bytes=1 << 60), Refused, "needs 1099511627776 MiB, and datastore default has"),
        (Blank(size_bytes=1 << 60), Refused, "choose a smaller disk or another datastore"),
    ]
    for content, kind, sentence in cases:
        with pytest.raises(kind, match=sentence):
            create(disks, content, DiskFormat.qcow2)
        assert list(store.iterdir()) == []


def test_only_the_disks_own_file_is_removed(disks: Disks, store: Path, tmp_path: Path) -> None:
    disk = create(disks, Blank(size_bytes=MIB))
    victim = tmp_path / "precious"
    victim.write_text("precious")

    for wrong in ({"path": str(victim)}, {"name": "other"}):
        with pytest.raises(Refused, match="let its agent's configuration name the old path"):
            disks.remove(RemoveDisk(vm="web-1", disk=disk.model_copy(update=wrong)))
    assert victim.exists()
    disks.remove(RemoveDisk(vm="web-1", disk=disk))
    assert [each.name for each in store.iterdir()] == [TOKEN]


def test_the_hosts_own_configuration_holds(store: Path, disks: Disks, tmp_path: Path) -> None:
    datastores = disks._datastores
    datastores.use([Datastore(name="default", path=str(tmp_path)), Datastore(name="gone", path=str(tmp_path / "gone"))])

    assert datastores.path("default") == store
    assert [each.name for each in asyncio.run(datastores.facts())] == ["default"]
    with pytest.raises(NotFound, match="host-a does not see datastore 'gone'"):
        datastores.path("gone")

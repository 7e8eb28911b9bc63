"""Words of the command line that describe a VM."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from godwit.cli.requests import ImageWords, vm_request
from godwit.core.errors import Invalid
from godwit.core.model import DiskFormat
from godwit.core.resources import CloudInitRequest, DiskRequest, NicRequest, RootDiskRequest, VmRequest

IMAGE: dict[str, Any] = {
    "image": "base",
    "size": None,
    "datastore": None,
    "link": False,
    "cloud_init": True,
    "user": None,
    "ssh_keys": (),
    "gateways": (),
    "name_servers": (),
}
KEY = "ssh-ed25519 AAAA ada@home"


def request(
    *, networks: tuple[str, ...] = (), disks: tuple[str, ...] = (), ip: str | None = None, **image: Any
) -> VmRequest:
    words = ImageWords(**{**IMAGE, **image})
    return vm_request({"name": "web-1", "ip": ip}, memory="512MiB", networks=networks, disks=disks, image=words)


def test_cards_with_and_without_addresses() -> None:
    networks = ("lan", "lan=10.90.0.60/24", "lan=10.90.0.61/24,fd00::61/64", "dmz=fd00::1/64")
    assert request(networks=networks, ip="10.90.0.7/24").nics == (
        NicRequest(network="lan", ip="10.90.0.7/24"),
        NicRequest(network="lan", ip="10.90.0.60/24"),
        NicRequest(network="lan", ip="10.90.0.61/24", ip6="fd00::61/64"),
        NicRequest(network="dmz", ip6="fd00::1/64"),
    )


def test_disks_with_and_without_datastore_and_format() -> None:
    assert request(disks=("a:1MiB", "b:1GiB:nfs", "c:1MiB:qcow2", "d:1MiB:nfs:qcow2")).disks == (
        DiskRequest(name="a", size_bytes=1 << 20),
        DiskRequest(name="b", size_bytes=1 << 30, datastore="nfs"),
        DiskRequest(name="c", size_bytes=1 << 20, format=DiskFormat.qcow2),
        DiskRequest(name="d", size_bytes=1 << 20, datastore="nfs", format=DiskFormat.qcow2),
    )


def test_a_named_image_has_no_disk_of_its_own() -> None:
    assert (request().image, request().root_disk, request().cloud_init) == ("base", None, None)


def test_a_path_is_a_disk_image_with_cloud_init(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "key.pub").write_text(KEY + "\n")
    monkeypatch.chdir(tmp_path)
    got = request(image="./debian.qcow2", size="2GiB", link=True, ssh_keys=[tmp_path / "key.pub"], user="ada")

    assert got.image == str(tmp_path / "debian.qcow2")
    assert got.root_disk == RootDiskRequest(size_bytes=2 << 30, link=True)
    assert got.cloud_init == CloudInitRequest(user="ada", ssh_keys=(KEY,))
    assert request(image="/a/b").cloud_init == CloudInitRequest()
    assert request(image="/a/b", cloud_init=False).cloud_init is None


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        ({"ip": "10.90.0.7/24"}, "--ip needs a network card"),
        ({"ip": "10.90.0.7/24", "networks": ("lan=10.90.0.8/24",)}, "both name an address of the first card"),
        ({"networks": ("lan=10.90.0.8/24,10.90.0.9/24",)}, "two addresses of one kind"),
        ({"disks": ("data",)}, "'data' is no disk: write NAME:SIZE"),
        ({"disks": ("data:1GiB:a:b",)}, "'data:1GiB:a:b' is no disk"),
        ({"disks": ("data:1GiB:raw:qcow2",)}, "is no disk"),
        ({"disks": ("data:1000B",)}, "not a whole number of MiB"),
        ({"disks": ("Data:1GiB",)}, "--disk 'Data'"),
        ({"image": "/a", "cloud_init": False, "user": "ada"}, "--no-cloud-init leaves nobody to tell"),
        ({"image": "/a", "ssh_keys": [Path("/nowhere/key.pub")]}, "the SSH key /nowhere/key.pub cannot be read"),
    ],
)
def test_a_wrong_word_is_named(words: dict[str, Any], sentence: str) -> None:
    with pytest.raises(Invalid) as raised:
        request(**words)
    assert sentence in raised.value.message


def test_a_private_key_stays_at_home(tmp_path: Path) -> None:
    (tmp_path / "key").write_text("-----BEGIN OPENSSH PRIVATE KEY-----\n")
    with pytest.raises(Invalid, match=r"is a private key, which no guest may have: name its public half, .*/key\.pub"):
        request(image="/a", ssh_keys=[tmp_path / "key"])

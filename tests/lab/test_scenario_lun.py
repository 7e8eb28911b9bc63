"""A VM whose disk is a unit of a real iSCSI target: made there, moved live without a byte of it, and away and back."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.lab.disks import disk_path, go

from godwit.core.resources import CloudInitRequest, DiskRequest, NicRequest, RootDiskRequest, VmRequest
from godwit.lab.scenario import Scenario
from godwit.lab.settings import Settings
from godwit.lab.traffic_records import missing_records

pytestmark = [
    pytest.mark.lab,
    pytest.mark.skipif(not shutil.which("tgtd") or not shutil.which("iscsi-ls"), reason="needs tgt and libiscsi-bin"),
]

MIB = 1 << 20
JOURNAL = DiskRequest(name="journal", size_bytes=48 * MIB, datastore="san")


@pytest.fixture(scope="module")
def lab() -> Iterator[Scenario]:
    """`web` runs on host-a, its disk a unit that somebody else had before."""
    settings = Settings(storage_node=True)
    with tempfile.TemporaryDirectory(prefix="gw") as directory, Scenario(Path(directory), settings) as lab:
        with (lab.lab.data_dir / "storage" / "unit-1").open("r+b") as unit:
            unit.write(b"somebody else's" * MIB)
        nics = (NicRequest(network="lan"),)
        vm = VmRequest(name="web", memory_mib=256, nics=nics, disks=(JOURNAL,), host="host-a")
        lab.client.create_vm(vm)
        lab.wait_ready("web")
        yield lab


def test_a_disk_on_a_unit_goes_nowhere_with_its_vm_and_anywhere_without(lab: Scenario) -> None:
    """Three moves under traffic: no acknowledged record is lost, and nothing of the unit's earlier owner is seen."""
    with lab.traffic("web", kinds=("records", "redis")) as traffic:
        there = go(lab, "host-b")
        unit = lab.client.vm("web").disks[0]
        aside = go(lab, "--datastore", "local", "--format", "qcow2")
        file = lab.client.vm("web").disks[0]
        back = go(lab, "host-a", "--datastore", "san")
        clients = {client.name: client for client in traffic.stop().clients}
    lab.wait_tidy()
    lab.demand("vm", "stop", "web", "--grace", "0s")
    disk = disk_path(lab)

    assert (there.disks, unit.is_lun, file.format) == ((), True, "qcow2")
    assert [len(each.disks) for each in (aside, back)] == [1, 1]
    assert [lab.client.vm("web").disks[0].path, lab.client.vm("web").host] == [unit.path, "host-a"]
    assert all(each.survived and each.verified and not each.error for each in clients.values())
    assert clients["records"].last_record > 100
    assert missing_records(disk, clients["records"].last_record) == []
    second_half = disk.read_bytes()[JOURNAL.size_bytes // 2 : JOURNAL.size_bytes]
    assert not any(second_half), "what the unit held before is gone"


def test_a_disk_image_becomes_a_unit_and_cloud_inits_volume_another(lab: Scenario, tmp_path: Path) -> None:
    """Zeros come after what the image holds, whoever had the unit before."""
    image = tmp_path / "image.raw"
    image.write_bytes(bytes(510) + b"\x55\xaa" + b"cloud" * MIB)
    with (lab.lab.data_dir / "storage" / "unit-2").open("r+b") as unit:
        unit.write(b"somebody else's" * MIB)
    root = RootDiskRequest(size_bytes=32 * MIB, datastore="san")
    request = VmRequest(name="cloud", image=str(image), memory_mib=64, host="host-b", start=False)
    made = {"root_disk": root, "cloud_init": CloudInitRequest()}

    lab.client.create_vm(request.model_copy(update=made))
    disks = lab.client.vm("cloud").disks
    lab.client.delete_vm("cloud")

    assert [(each.name, each.is_lun, each.read_only) for each in disks] == [
        ("root", True, False),
        ("cloud-init", True, True),
    ]
    held = lab.lab.data_dir / "storage" / f"unit-{disks[0].path.rpartition('/')[2]}"
    expected = image.read_bytes().ljust(32 * MIB, b"\0")
    assert held.read_bytes()[: 32 * MIB] == expected


def test_what_cannot_be_a_unit_is_refused(lab: Scenario) -> None:
    done = lab.run("vm", "create", "large", "--image", "base", "--memory", "64MiB", "--disk", "data:8GiB:san")
    assert (done.status, "no unit for disk data of large that holds 8192 MiB" in done.err) == (2, True), done

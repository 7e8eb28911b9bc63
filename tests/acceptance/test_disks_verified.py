"""Each kind of move under fio's verified writes and a journal of fsynced records: nothing is lost, all checks clean."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator

import pytest
from tests.lab.disks import files, go, lab_with_disks, raw_copy
from tests.lab.verifying import IMAGE, Guest

from godwit.core.model import DiskFormat, VmState
from godwit.lab.scenario import Scenario
from godwit.lab.settings import Settings
from godwit.lab.traffic_records import missing_records

pytestmark = [
    pytest.mark.acceptance,
    pytest.mark.lab,
    pytest.mark.timeout(600),
    pytest.mark.skipif(not shutil.which("tgtd") or not shutil.which("iscsi-ls"), reason="needs tgt and libiscsi-bin"),
]

FORGET = "dd if=/dev/zero of=/dev/vda bs=64k count=128 conv=notrunc,fsync 2>/dev/null"
"""The records of an earlier move."""
E2FSCK = shutil.which("e2fsck", path="/usr/sbin:/sbin:/usr/bin") or "e2fsck"
OTHER = "the host where it is not"
MOVES = {
    "shared-nothing": (OTHER, "--datastore", "local"),
    "storage": ("--datastore", "default"),
    "shared": (OTHER,),
    "onto the target": ("--datastore", "san"),
    "shared, on the target": (OTHER,),
    "from the target, both as qcow2": (OTHER, "--datastore", "local", "--format", "qcow2"),
    "shared-nothing, qcow2 to raw": (OTHER, "--datastore", "local", "--format", "raw"),
    "cold, datastore": ("--cold", "--yes", "--datastore", "default"),
    "cold, host": (OTHER, "--cold", "--yes"),
    "cold, both": (OTHER, "--cold", "--yes", "--datastore", "local", "--format", "qcow2"),
    "cold, onto the target": (OTHER, "--cold", "--yes", "--datastore", "san"),
    "cold, from the target": (OTHER, "--cold", "--yes", "--datastore", "local"),
}
"""One after the other: each begins where the one before it has ended."""


@pytest.fixture(scope="module")
def lab() -> Iterator[Scenario]:
    """Its image is unpacked into memory."""
    settings = Settings(storage_node=True, images=("base", IMAGE))
    with lab_with_disks(settings, image=IMAGE, memory_mib=512, start=False) as scenario:
        yield scenario


@pytest.fixture(scope="module")
def guest(lab: Scenario) -> Guest:
    lab.client.start_vm("web")
    guest = Guest(lab)
    guest.wait_ready()
    guest.make_file_system()
    return guest


@pytest.mark.parametrize("kind", MOVES)
def test_every_record_and_every_verified_write_is_there(lab: Scenario, guest: Guest, kind: str) -> None:
    is_cold = "--cold" in MOVES[kind]
    if lab.client.vm("web").state is not VmState.running:
        lab.demand("vm", "start", "web")
    guest.wait_ready()
    guest.demand(FORGET)
    guest.demand("mkdir -p /data && mount /dev/vdb /data")
    guest.begin_verifying()
    with lab.traffic("web", kinds=("records",)) as traffic:
        guest.wait_verified_more()
        elsewhere = {"host-a": "host-b", "host-b": "host-a"}[lab.client.vm("web").host or ""]
        go(lab, *(elsewhere if each == OTHER else each for each in MOVES[kind]))
        if not is_cold:  # else the guest was shut down, and has booted again
            guest.wait_verified_more()
            assert guest.end_verifying() > 100
        (records,) = traffic.stop().clients
    if is_cold:
        guest.wait_ready()
        guest.demand("mkdir -p /data && mount /dev/vdb /data")
    guest.verify_at_rest()
    guest.demand("umount /data")
    lab.demand("vm", "stop", "web", "--grace", "0s")

    assert records.last_record > 20
    assert is_cold or (records.survived, records.verified, records.error) == (True, True, None)
    assert_clean(lab, records.last_record)
    lab.wait_tidy()


def assert_clean(lab: Scenario, last_record: int) -> None:
    """The VM is off: its records, its file system and its images are whole, and there are no others."""
    with raw_copy(lab, "journal") as raw:
        assert missing_records(raw, last_record) == []
    with raw_copy(lab, "data") as raw:
        subprocess.run([E2FSCK, "-fn", str(raw)], check=True)
    disks = lab.client.vm("web").disks
    for disk in disks:
        if disk.format is DiskFormat.qcow2 and not disk.is_lun:
            subprocess.run(["qemu-img", "check", "-q", disk.path], check=True)
    assert len(files(lab)) == len([disk for disk in disks if not disk.is_lun])

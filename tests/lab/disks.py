"""A lab with a VM whose disks lie where only its host sees them, for the scenarios of disks that go."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from godwit.core.model import Disk, DiskFormat
from godwit.core.report import Report
from godwit.core.resources import DiskRequest, NicRequest, VmRequest
from godwit.lab.scenario import Running, Scenario
from godwit.lab.settings import Settings
from godwit.lab.traffic_records import missing_records

MIB = 1 << 20
RATE = 500
"""Datagrams a second."""
JOURNAL = DiskRequest(name="journal", size_bytes=64 * MIB, datastore="local")
DATA = DiskRequest(name="data", size_bytes=32 * MIB, datastore="local", format=DiskFormat.qcow2)


@contextmanager
def lab_with_disks(
    settings: Settings | None = None, *, image: str = "base", memory_mib: int = 256, start: bool = True
) -> Iterator[Scenario]:
    """`web` runs on host-a: a raw disk for its records, half of which is full, and an empty qcow2 disk."""
    with tempfile.TemporaryDirectory(prefix="gw") as directory, Scenario(Path(directory), settings) as lab:
        request = VmRequest(
            name="web",
            image=image,
            memory_mib=memory_mib,
            nics=(NicRequest(network="lan"),),
            disks=(JOURNAL, DATA),
            host="host-a",
            start=False,
        )
        lab.client.create_vm(request)
        with disk_path(lab).open("r+b") as file:
            file.seek(JOURNAL.size_bytes // 2)
            file.write(os.urandom(JOURNAL.size_bytes // 2))
        if start:
            lab.client.start_vm("web")
            lab.wait_ready("web")
        yield lab


def disk_path(lab: Scenario, name: str = "journal") -> Path:
    """Where it lies now; of a unit, the file by which the lab's target keeps it."""
    disk = _disk(lab, name)
    return lab.lab.data_dir / "storage" / f"unit-{disk.path.rpartition('/')[2]}" if disk.is_lun else Path(disk.path)


def _disk(lab: Scenario, name: str) -> Disk:
    return next(disk for disk in lab.client.vm("web").disks if disk.name == name)


def files(lab: Scenario) -> list[str]:
    """Whatever lies in datastores: `STORE/web/FILE`, where a store that one host has alone is called by that host."""
    root = lab.lab.data_dir
    found = [path.relative_to(root) for path in root.glob("*/local/web/*")]
    found += [path.relative_to(root) for path in root.glob("datastore/web/*")]
    return sorted(f"{path.parts[0]}/{path.name}" for path in found)


def go(lab: Scenario, *words: str) -> Report:
    """`godwit migrate web WORDS` was done."""
    return Report.model_validate_json(lab.demand("migrate", "web", *words, "--json"))


def udp_probe(lab: Scenario, seconds: float) -> Running:
    nic = lab.client.vm("web").nics[0]
    assert nic.ip is not None
    words = [sys.executable, "-m", "godwit.lab.udp_probe", str(nic.ip.ip), "--rate", str(RATE)]
    return Running([*lab.look().node("client").enter, *words, "--seconds", str(seconds)])


def blocks(lab: Scenario, name: str) -> list[str]:
    """Of what the guest sees on that disk, a digest of each MiB; its VM is off."""
    with raw_copy(lab, name) as raw:
        content = raw.read_bytes()
    return [hashlib.sha256(content[at : at + MIB]).hexdigest() for at in range(0, len(content), MIB)]


@contextmanager
def raw_copy(lab: Scenario, name: str) -> Iterator[Path]:
    """A file of what the guest sees on that disk; its VM is off."""
    disk, path = _disk(lab, name), disk_path(lab, name)
    with tempfile.TemporaryDirectory(dir=lab.lab.data_dir) as directory:
        raw = Path(directory) / "raw"
        format = "raw" if disk.is_lun else str(disk.format)
        subprocess.run(["qemu-img", "convert", "-f", format, "-O", "raw", str(path), str(raw)], check=True)
        os.truncate(raw, disk.size_bytes)  # a unit may be larger
        yield raw


def assert_whole(lab: Scenario, last_record: int) -> None:
    """The VM is off: every acknowledged record is on its disk, and both images are clean."""
    assert missing_records(disk_path(lab), last_record) == []
    for disk in lab.client.vm("web").disks:
        if disk.format is DiskFormat.qcow2:
            subprocess.run(["qemu-img", "check", "-q", disk.path], check=True)

"""`make bench-storage`: how fast disks go beside `qemu-img convert` and `virsh migrate --copy-storage-all`, and what
they add to the blackout.

Each run moves one VM four times: to the other host, its disk in a datastore that both see; back, with its disk, over
the lab's link of 1 Gbit/s; there again, unencrypted as libvirt does it; and its disk alone to another datastore,
after which `qemu-img convert` copies the same file on the same storage. Then libvirt moves a VM with such a disk as
often. Half of the disk holds data that cannot be compressed, half is zeros. The first round of each is not counted.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from benchmarks import figures
from benchmarks.peer_virsh import LibvirtVm, version
from benchmarks.place import GODWIT_VM, OTHER, Site
from godwit.core.errors import Failed
from godwit.core.report import Report
from godwit.core.resources import DiskRequest, NicRequest, VmRequest
from godwit.lab.scenario import MEMORY_MIB, Scenario

MIB = 1 << 20
SIZE_MIB = 512
FILE = Path("build") / "bench-storage.json"
LIMIT_S = 300.0
DISK = """
    <disk type='file' device='disk'>
      <driver name='qemu' type='raw' cache='none' discard='unmap'/><source file='{file}'/>
      <target dev='vda' bus='virtio'/>
    </disk>
  </devices>"""

Measured = dict[tuple[str, str, str], list[float]]
"""Milliseconds by case, by whom, and what."""


def main() -> None:
    """The figures are printed, and kept in build/bench-storage.json."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=12)
    runs = parser.parse_args().runs
    found: Measured = {}
    with (
        tempfile.TemporaryDirectory(prefix="gw") as directory,
        Scenario(Path(directory)) as lab,
        Site(lab, lab.lab.data_dir) as site,
    ):
        _of_godwit(lab, runs, found)
        lab.demand("vm", "stop", GODWIT_VM, "--grace", "0s")
        _of_libvirt(site, runs, found)
        peer = version(site)
    _tell(found, peer)


def _of_godwit(lab: Scenario, runs: int, found: Measured) -> None:
    _make_vm(lab)
    for run in range(runs + 1):
        memory = _go(lab, _elsewhere(lab))
        both = _go(lab, _elsewhere(lab), "--datastore", "local")
        plain = _go(lab, _elsewhere(lab), "--datastore", "local", "--plaintext")
        disk = _go(lab, "--datastore", "default")
        converted_ms = _timed(lambda: _convert(lab))
        if run == 0:
            continue
        found.setdefault(("memory", "godwit", "blackout"), []).append(memory.blackout_ms or 0.0)
        found.setdefault(("shared-nothing", "godwit", "blackout"), []).append(both.blackout_ms or 0.0)
        found.setdefault(("shared-nothing", "godwit", "copy"), []).append(both.disks[0].ms)
        found.setdefault(("plaintext", "godwit", "copy"), []).append(plain.disks[0].ms)
        found.setdefault(("storage", "godwit", "copy"), []).append(disk.disks[0].ms)
        found.setdefault(("storage", "qemu-img convert", "copy"), []).append(converted_ms)


def _make_vm(lab: Scenario) -> None:
    disk = DiskRequest(name="data", size_bytes=SIZE_MIB * MIB, datastore="default")
    nics = (NicRequest(network="lan"),)
    vm = VmRequest(name=GODWIT_VM, memory_mib=MEMORY_MIB, nics=nics, disks=(disk,), host="host-a", start=False)
    lab.client.create_vm(vm)
    _fill(_path(lab))
    lab.client.start_vm(GODWIT_VM)
    lab.wait_ready(GODWIT_VM)


def _fill(file: Path) -> None:
    """Half of it, on the disk and not in memory."""
    with file.open("r+b") as opened:
        for _ in range(SIZE_MIB // 2):
            opened.write(os.urandom(MIB))
        os.fsync(opened.fileno())


def _path(lab: Scenario) -> Path:
    return Path(lab.client.vm(GODWIT_VM).disks[0].path)


def _elsewhere(lab: Scenario) -> str:
    return OTHER[lab.client.vm(GODWIT_VM).host or ""]


def _go(lab: Scenario, *words: str) -> Report:
    return Report.model_validate_json(lab.demand("migrate", GODWIT_VM, *words, "--json"))


def _convert(lab: Scenario) -> None:
    """To a file beside the datastores, past the page cache as godwit does it, the running VM's lock ignored."""
    copy = lab.lab.data_dir / "copy.raw"
    words = ["qemu-img", "convert", "-U", "-t", "none", "-T", "none", "-f", "raw", "-O", "raw"]
    subprocess.run([*words, str(_path(lab)), str(copy)], check=True)
    copy.unlink()


def _timed(work: Callable[[], None]) -> float:
    begun = time.monotonic()
    work()
    return (time.monotonic() - begun) * 1000


class LibvirtVmWithDisk(LibvirtVm):
    """Its disk lies at one path, under which each host sees a directory of its own."""

    def __init__(self, site: Site) -> None:
        self._file = site.directory / "images" / "data.raw"
        self._file.parent.mkdir()
        for host in OTHER:
            own = self._own(site, host)
            own.mkdir()
            site.run(host, "mount", "--bind", str(own), str(self._file.parent))
        self._make_empty(site, "host-a")
        _fill(self._own(site, "host-a") / self._file.name)
        super().__init__(site)

    def _own(self, site: Site, host: str) -> Path:
        return site.directory / f"images-{host}"

    def _make_empty(self, site: Site, host: str) -> None:
        with (self._own(site, host) / self._file.name).open("wb") as made:
            made.truncate(SIZE_MIB * MIB)

    def _domain(self) -> str:
        return super()._domain().replace("\n  </devices>", DISK.format(file=self._file))

    def copy(self) -> tuple[float, float]:
        """It and its disk are on the other host: how long the disk was copied, and the blackout, in milliseconds."""
        here, there = self.host, OTHER[self.host]
        self._make_empty(self.site, there)
        moved = self.migrate(max_downtime_ms=None, limit_s=LIMIT_S, more=("--copy-storage-all",))
        begun_ms = self.first(here, "JOB_STATUS_CHANGE")
        return self.first(here, "BLOCK_JOB_READY") - begun_ms, moved.resumed_ms - moved.stopped_ms


def _of_libvirt(site: Site, runs: int, found: Measured) -> None:
    vm = LibvirtVmWithDisk(site)
    for run in range(runs + 1):
        copied_ms, blackout_ms = vm.copy()
        if run:
            found.setdefault(("plaintext", "virsh", "copy"), []).append(copied_ms)
            found.setdefault(("plaintext", "virsh", "blackout"), []).append(blackout_ms)


def _tell(found: Measured, peer: str) -> None:
    cases = [_case(key, took_ms) for key, took_ms in found.items()]
    ratios = {
        "storage_vs_qemu_img": _ratio(found, "storage", "qemu-img convert"),
        "plaintext_vs_virsh": _ratio(found, "plaintext", "virsh"),
        "encrypted_vs_virsh": round(
            _median(found, "plaintext", "copy", "virsh") / _median(found, "shared-nothing", "copy"), 3
        ),
    }
    added_ms = round(_median(found, "shared-nothing", "blackout") - _median(found, "memory", "blackout"), 2)
    result = {"machine": figures.machine(), "libvirt": peer, "cases": cases, "speed": ratios}
    figures.write(FILE, result | {"blackout_added_ms": added_ms})
    heads = ("case", "by", "what", "n", "median ms", "worst ms", "MiB/s of data")
    rows = [[each[key] for key in ("case", "by", "what", "n", "median", "max", "mib_per_s")] for each in cases]
    print(figures.table(heads, rows))
    for name, value in ratios.items():
        print(f"{name.replace('_', ' ')}: {value:.2f} times the speed (goal: at least 0.9)")
    print(f"disks add {added_ms:.1f} ms to the blackout in the median (goal: at most 40)")


def _case(key: tuple[str, str, str], took_ms: list[float]) -> dict[str, object]:
    spread = figures.spread(took_ms)
    speed = round(SIZE_MIB / 2 / (spread["median"] / 1000), 1) if key[2] == "copy" else ""
    return {"case": key[0], "by": key[1], "what": key[2], "n": len(took_ms), **spread, "mib_per_s": speed}


def _median(found: Measured, case: str, what: str, by: str = "godwit") -> float:
    if not found.get((case, by, what)):
        raise Failed(f"nothing was measured of {case}: ask for one run at least")
    return figures.spread(found[case, by, what])["median"]


def _ratio(found: Measured, case: str, peer: str) -> float:
    return round(_median(found, case, "copy", peer) / _median(found, case, "copy"), 3)


if __name__ == "__main__":
    main()

"""`make bench-storage`: how fast disks go, beside `qemu-img convert` of the same file on the same storage.

Two cases: to another datastore of the same host while the VM runs, and to another host with it, where the lab's link of
1 Gbit/s bounds the copying. Half of the disk holds data that cannot be compressed, half is zeros.
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
from godwit.core.report import Report
from godwit.core.resources import DiskRequest, NicRequest, VmRequest
from godwit.lab.scenario import Scenario

MIB = 1 << 20
SIZE_MIB = 512
FILE = Path("build") / "bench-storage.json"


def main() -> None:
    """The figures are printed, and kept in build/bench-storage.json."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=4, help="of each case; even, because disks go there and back")
    runs = parser.parse_args().runs
    with tempfile.TemporaryDirectory(prefix="gw") as directory, Scenario(Path(directory)) as lab:
        measured = _measure(lab, runs)
    cases = [_case(*key, took_ms) for key, took_ms in measured.items()]
    ratios = {"storage": {"speed_vs_qemu_img": _ratio(measured, "storage", "qemu-img convert")}}
    figures.write(FILE, {"machine": figures.machine(), "cases": cases, "ratios": ratios})
    rows = [(each["case"], each["peer"], each["n"], each["total_ms"]["median"], each["mib_per_s"]) for each in cases]
    print(figures.table(("case", "by", "n", "median ms", "MiB/s of data"), rows))
    print(f"storage: {ratios['storage']['speed_vs_qemu_img']:.2f} times the speed of qemu-img convert")


def _measure(lab: Scenario, runs: int) -> dict[tuple[str, str], list[float]]:
    _make_vm(lab)
    found: dict[tuple[str, str], list[float]] = {}
    stores = ["default", "local"]
    for run in range(runs):
        moved = _go(lab, "--datastore", stores[run % 2])
        found.setdefault(("storage", "godwit"), []).append(moved.disks[0].ms)
        found.setdefault(("storage", "qemu-img convert"), []).append(_timed(lambda: _convert(lab)))
    for _ in range(runs):
        there = "host-b" if lab.client.vm("web").host == "host-a" else "host-a"
        moved = _go(lab, there, "--datastore", "local")
        found.setdefault(("shared-nothing", "godwit"), []).append(moved.disks[0].ms)
    return found


def _make_vm(lab: Scenario) -> None:
    disk = DiskRequest(name="data", size_bytes=SIZE_MIB * MIB, datastore="local")
    nics = (NicRequest(network="lan"),)
    lab.client.create_vm(VmRequest(name="web", memory_mib=256, nics=nics, disks=(disk,), host="host-a", start=False))
    with _path(lab).open("r+b") as file:
        for _ in range(SIZE_MIB // 2):
            file.write(os.urandom(MIB))
        os.fsync(file.fileno())
    lab.client.start_vm("web")
    lab.wait_ready("web")


def _path(lab: Scenario) -> Path:
    return Path(lab.client.vm("web").disks[0].path)


def _go(lab: Scenario, *words: str) -> Report:
    return Report.model_validate_json(lab.demand("migrate", "web", *words, "--json"))


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


def _case(case: str, peer: str, took_ms: list[float]) -> dict[str, object]:
    spread = figures.spread(took_ms)
    speed = SIZE_MIB / 2 / (spread["median"] / 1000)
    return {"case": case, "peer": peer, "n": len(took_ms), "total_ms": spread, "mib_per_s": round(speed, 1)}


def _ratio(measured: dict[tuple[str, str], list[float]], case: str, peer: str) -> float:
    ours, theirs = (figures.spread(measured[case, who])["median"] for who in ("godwit", peer))
    return round(theirs / ours, 3)


if __name__ == "__main__":
    main()

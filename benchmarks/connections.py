"""How well reports tell what clients saw: fifty clients measure their own silences over many migrations.

Each silence is compared with that of the report by two clocks of the client: its program's, which is late when the
machine has no CPU for it, and its kernel's. An interrupted run goes on where it stopped; `--fresh` begins anew.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.figures import Runs, machine, spread, table, write
from godwit.core.report import ConnectionReport, Report
from godwit.lab.scenario import Running, Scenario, wait_until

RESULT = Path("build/bench-connections.json")
RUNS = Path("build/bench-connections.runs.jsonl")
BEFORE_S, PART_S = 2.5, 0.5
BEFORE_MS, AFTER_MS = 2000.0, 5000.0
"""The stretch that reports tell of, around STOP and RESUME."""
PARTED = {"leaving", "left"}


def measure(lab: Scenario) -> dict[str, Any]:
    """One migration, as reported and as its clients saw it."""
    here = lab.where_it_runs("web")[0]
    there = next(host for host in lab.settings.host_names if host != here)
    address = str(lab.client.vm("web").nics[0].ip.ip)  # type: ignore[union-attr]
    words = [sys.executable, "-m", "godwit.lab.silence_clients", address]
    clients = Running([*lab.look().node("client").enter, *words])
    assert clients.process.stdout is not None
    assert clients.process.stdin is not None
    clients.process.stdout.readline()
    time.sleep(BEFORE_S)
    moved = lab.migrate("web", there)
    time.sleep(PART_S)
    clients.process.stdin.write(b"part\n")
    start_ms, end_ms = _stretch(moved)
    time.sleep(max(0.0, end_ms / 1000 - time.time()))
    clients.process.stdin.write(json.dumps([start_ms, end_ms]).encode() + b"\n")
    seen = json.loads(clients.end().out)
    wait_until("it is told what clients saw", lambda: lab.client.report(moved.id).connections is not None)
    report = lab.client.report(moved.id)
    wait_until("it is settled", lambda: lab.client.migration(moved.id).settled)
    known = report.model_dump(include={"blackout_ms", "clock_error_ms", "saw_all"})
    return known | {"clients": _paired(seen, report)}


def _stretch(report: Report) -> tuple[float, float]:
    assert report.stopped_at_ms is not None
    assert report.blackout_ms is not None
    return report.stopped_at_ms - BEFORE_MS, report.stopped_at_ms + report.blackout_ms + AFTER_MS


def _paired(seen: list[dict[str, Any]], report: Report) -> list[dict[str, Any]]:
    told = {each.client: each for each in report.connections or ()}
    return [each | _told(told.get(each["client"])) for each in seen]


def _told(connection: ConnectionReport | None) -> dict[str, Any]:
    if connection is None:
        return {"reported_ms": None, "resets": 0}
    return {"reported_ms": connection.longest_silence_ms, "resets": connection.resets}


def summary(runs: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """How far reports were off, and which resets they missed or made up."""
    clients = [each for run in runs for each in run["clients"]]
    carried = [each for each in clients if each["manner"] not in PARTED]
    reset = [each for each in clients if each["is_reset"]]
    return {
        "machine": machine(),
        "migrations": len(runs),
        "connections": len(clients),
        "unreported": sum(each["reported_ms"] is None for each in clients),
        "off_by_ms": {clock: spread(_off(carried, clock)) for clock in ("program_ms", "kernel_ms")},
        "worst_p90_of_one_migration_ms": {
            clock: max((spread(_off(run["clients"], clock))["p90"] for run in runs), default=None)
            for clock in ("program_ms", "kernel_ms")
        },
        "resets": len(reset),
        "resets_missed": sum(not each["resets"] for each in reset),
        "resets_made_up": sum(bool(each["resets"]) and not each["is_reset"] for each in clients),
        "blackout_ms": spread(run["blackout_ms"] for run in runs),
    }


def _off(clients: Sequence[dict[str, Any]], clock: str) -> list[float]:
    some = [each for each in clients if each["manner"] not in PARTED and each["reported_ms"] is not None]
    return [abs(each["reported_ms"] - each[clock]) for each in some]


def main() -> int:
    """As many migrations as are missing are made; the figures of all are printed and written."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=50)
    parser.add_argument("--fresh", action="store_true")
    options = parser.parse_args()
    if options.fresh:
        RUNS.unlink(missing_ok=True)
    runs = Runs(RUNS)
    if len(runs.all) < options.runs:
        with tempfile.TemporaryDirectory(prefix="gw") as directory, Scenario(Path(directory)) as lab:
            lab.create_vm("web", "host-a")
            lab.wait_ready("web")
            while len(runs.all) < options.runs:
                runs.add(measure(lab))
                print(f"{len(runs.all)}/{options.runs}", flush=True)
    found = summary(runs.all)
    write(RESULT, found)
    rows = [(clock, *values.values()) for clock, values in found["off_by_ms"].items()]
    print(table(("report against", "median ms", "p90 ms", "max ms"), rows))
    print(f"{found['resets']} resets, {found['resets_missed']} missed, {found['resets_made_up']} made up")
    return 0


if __name__ == "__main__":
    sys.exit(main())

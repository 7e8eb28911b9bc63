"""How well godwit foretells a move: many varied ones, each forecast beside what happened.

    make bench-forecast [BENCH=--fresh], or: python -m benchmarks.forecast [--runs 64] [--minutes 20] [--fresh]

Guests stand still or write at several rates over several working sets, links are capped differently, memory is
encrypted or not. The first move of each lab has no past to learn from and counts all the same. A run that was stopped
goes on where it was.
"""

from __future__ import annotations

import argparse
import contextlib
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from benchmarks.figures import Runs, commit, machine, spread, table, write
from godwit.core.errors import GodwitError
from godwit.core.phase import Phase
from godwit.core.report import Report
from godwit.lab.image import default_cache, ensure_image
from godwit.lab.scenario import Running, Scenario
from godwit.lab.traffic_ssh import SSH_PORT, ssh_argv

RUNS = Path("build/forecast-runs.jsonl")
RESULT = Path("build/forecast.json")
HOSTS = ("host-a", "host-b")
WRITES = {"idle": (0, 0), "8 MB/s in 16 MB": (8, 16), "20 MB/s in 64 MB": (20, 64), "60 MB/s in 32 MB": (60, 32)}
"""MB each second, and within how many."""
FLAGS = ((), ("--plaintext",), ("--bandwidth", "400mbit"), ("--bandwidth", "600mbit", "--plaintext"))
PARTS_OF_A_SECOND = 10
SETTLED_S = 1.0
"""A guest that was just told over ssh what to do is neither idle nor writes as it will."""
ROUNDS = 3
"""That differ."""


def writer(rate_mb: int, size_mb: int) -> str:
    """For the guest's shell: as much each tenth of a second, round and round, until its input ends.

    Each round writes other bytes than the one before: QEMU samples what pages hold.
    """
    count = max(1, rate_mb // PARTS_OF_A_SECOND)
    places = max(1, size_mb // count)
    pause = count / rate_mb
    there = f"skip=$((i / {places} % {ROUNDS})) seek=$((i % {places} * {count}))"
    return (
        f"echo $$ >/run/writer; dd if=/dev/urandom of=/run/from bs=1M count={count + ROUNDS - 1} 2>/dev/null; "
        "echo ready; i=0; while :; do "
        f"dd if=/run/from of=/run/to bs=1M count={count} {there} conv=notrunc 2>/dev/null; "
        f"i=$((i + 1)); sleep {pause:.2f}; done"
    )


@contextlib.contextmanager
def writing(lab: Scenario, rate_mb: int, size_mb: int) -> Iterator[None]:
    """The guest writes so many MB each second within so many, meanwhile."""
    if not rate_mb:
        time.sleep(SETTLED_S)
        yield
        return
    nic = lab.client.vm("web").nics[0]
    assert nic.ip is not None
    key = ensure_image("base", cache=default_cache(), progress=lambda _: None) / "id_ed25519"
    *words, _ = ssh_argv(str(nic.ip.ip), SSH_PORT, key)
    enter = lab.look().node("client").enter
    running = Running([*enter, *words, writer(rate_mb, size_mb)])
    try:
        assert running.process.stdout is not None
        running.process.stdout.readline()
        time.sleep(SETTLED_S)
        yield
    finally:
        running.close()
        Running([*enter, *words, "kill $(cat /run/writer); rm -f /run/to"]).end()


def measure(runs: Runs, wanted: int, *, until_s: float) -> None:
    """There are that many runs, or the time (on the monotonic clock) is over."""

    def is_left() -> bool:
        return len(runs.all) < wanted and time.monotonic() < until_s

    with tempfile.TemporaryDirectory(prefix="gw") as name, Scenario(Path(name)) as lab:
        lab.create_vm("web", HOSTS[0])
        lab.wait_ready("web")
        while is_left():
            how = list(WRITES)[len(runs.all) // len(FLAGS) % len(WRITES)]
            with writing(lab, *WRITES[how]):
                for flags in FLAGS[len(runs.all) % len(FLAGS) :]:
                    if is_left():
                        runs.add(_run(lab.migrate("web", _other(lab), *flags), how, flags))
                        print(runs.all[-1], file=sys.stderr, flush=True)


def _other(lab: Scenario) -> str:
    here = lab.client.vm("web").host
    return HOSTS[1] if here == HOSTS[0] else HOSTS[0]


def _run(report: Report, how: str, flags: tuple[str, ...]) -> dict[str, Any]:
    told = report.forecast
    assert told.total_ms is not None
    assert told.blackout_ms is not None
    assert told.switch_blackout_ms is not None
    assert report.blackout_ms is not None
    copying_ms = -next(each.at_ms for each in report.timeline if each.event == Phase.copying)
    return {
        "guest": how,
        "commit": commit(),
        "flags": " ".join(flags),
        "total_ms": round(report.total_ms),
        "foretold_total_ms": round(told.total_ms),
        "total_error_percent": round(100 * abs(told.total_ms - report.total_ms) / report.total_ms, 1),
        "blackout_ms": round(report.blackout_ms, 1),
        "foretold_blackout_ms": told.blackout_ms,
        "blackout_error_ms": round(abs(told.blackout_ms - report.blackout_ms), 1),
        "switch_error_ms": round(abs(told.switch_blackout_ms - report.blackout_ms), 1),
        "copying_ms": round(copying_ms),
        "foretold_mb_per_s": round((told.link_bytes_per_s or 0) / 1e6, 1),
        "foretold_dirty_mb_per_s": round((told.dirty_bytes_per_s or 0) / 1e6, 1),
        "passes": len(report.passes),
        "foretold_passes": told.passes,
        "transferred_mb": round(report.transferred_bytes / 1e6),
        "foretold_mb": round((told.transferred_bytes or 0) / 1e6),
        "vcpu_share": told.vcpu_share,
        "rest": [[each.at_ms, each.remaining_bytes, each.throttle_percent] for each in report.passes],
    }


def summed(runs: Runs) -> dict[str, Any]:
    """The errors, over all runs and by guest."""
    errors = ("total_error_percent", "blackout_error_ms", "switch_error_ms")
    guests = {name: runs.of(guest=name) for name in WRITES} | {"all": runs.all}
    cases = [
        {"guest": name, "n": len(these), **{error: spread(each[error] for each in these) for error in errors}}
        for name, these in guests.items()
        if these
    ]
    commits = dict.fromkeys(each.get("commit", "unknown") for each in runs.all)
    return {"machine": {**machine(), "commit": " and ".join(commits)}, "cases": cases}


def shown(result: dict[str, Any]) -> str:
    """The result as a table."""
    heads = ("guest", "n", "total time, error in %", "blackout, error in ms", "the same, at the switch-over")

    def cell(figures: dict[str, float]) -> str:
        return f"{figures['median']:.1f} (p90 {figures['p90']:.1f})"

    errors = ("total_error_percent", "blackout_error_ms", "switch_error_ms")
    return table(
        heads, [(each["guest"], each["n"], *(cell(each[error]) for error in errors)) for each in result["cases"]]
    )


def main() -> int:
    """Measures, prints the table and leaves the figures in build/, those of a run that was stopped too."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=64)
    parser.add_argument("--minutes", type=float, default=20.0, help="when to stop")
    parser.add_argument("--fresh", action="store_true", help="forget what was measured before")
    asked = parser.parse_args()
    if asked.fresh:
        RUNS.unlink(missing_ok=True)
    runs = Runs(RUNS)
    if runs.all:
        others = sorted({each.get("commit", "unknown") for each in runs.all} - {commit()})
        of = f", some of commit {' and '.join(others)} (--fresh forgets them)" if others else ""
        print(f"forecast: {len(runs.all)} of {asked.runs} moves were measured before{of}", file=sys.stderr)
    try:
        measure(runs, asked.runs, until_s=time.monotonic() + 60 * asked.minutes)
    except KeyboardInterrupt:
        print("forecast: stopped; it goes on from here when it is started again", file=sys.stderr)
        return 130
    except GodwitError as error:
        print(f"forecast: {error.message}", file=sys.stderr)
        return error.exit_status
    finally:
        if runs.all:
            result = summed(runs)
            write(RESULT, result)
            print(shown(result))
    return 0


if __name__ == "__main__":
    sys.exit(main())

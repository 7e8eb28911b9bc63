"""A guest that dirties more than the link carries, moved to and fro with a deadline: how each move ends, and when.

    python -m benchmarks.deadlines [--moves 6] [--deadline 45] [--rate 400mbit] [--writes 120] [--within 96]

Each move must be done within its deadline, be refused before it starts (exit status 2), or be given up and undone
within it (exit status 1); the guest writes so many MB each second within so many.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.figures import table
from benchmarks.forecast import HOSTS, writing
from godwit.core.report import Report
from godwit.lab.scenario import Scenario
from godwit.lab.settings import Settings

ENDS = {0: "done", 1: "given up", 2: "refused"}


def move(lab: Scenario, *, deadline_s: int, max_blackout: str) -> tuple[object, ...]:
    """One line of the table."""
    here = lab.client.vm("web").host
    there = HOSTS[1] if here == HOSTS[0] else HOSTS[0]
    began = time.monotonic()
    done = lab.run("migrate", "web", there, "--json", "--deadline", f"{deadline_s}s", "--max-blackout", max_blackout)
    took_s = time.monotonic() - began
    end = ENDS.get(done.status, f"exit status {done.status}")
    if done.status:
        print(done.err.splitlines()[-1], file=sys.stderr)
        return (end, f"{took_s:.1f}", "-", "-", "-", f"{os.getloadavg()[0]:.1f}")
    report = Report.model_validate_json(done.out)
    slowed = max((each.throttle_percent for each in report.passes), default=0)
    told_s = (report.forecast.total_ms or 0) / 1000
    return (end, f"{took_s:.1f}", f"{told_s:.1f}", slowed, f"{report.blackout_ms:.0f}", f"{os.getloadavg()[0]:.1f}")


def main() -> int:
    """Prints a line for each move; 1 if any took longer than its deadline."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--moves", type=int, default=6)
    parser.add_argument("--deadline", type=int, default=45, help="seconds")
    parser.add_argument("--max-blackout", default="250ms")
    parser.add_argument("--rate", default="400mbit", help="of the migration network")
    parser.add_argument("--writes", type=int, default=120, help="MB each second")
    parser.add_argument("--within", type=int, default=96, help="MB")
    asked = parser.parse_args()
    with (
        tempfile.TemporaryDirectory(prefix="gw") as name,
        Scenario(Path(name), Settings(rate=asked.rate)) as lab,
    ):
        lab.create_vm("web", HOSTS[0])
        lab.wait_ready("web")
        with writing(lab, asked.writes, asked.within):
            how = {"deadline_s": asked.deadline, "max_blackout": asked.max_blackout}
            lines = [move(lab, **how) for _ in range(asked.moves)]
    print(table(("end", "s", "foretold s", "slowed down by %", "blackout ms", "load"), lines))
    return int(any(float(str(line[1])) > asked.deadline for line in lines))


if __name__ == "__main__":
    sys.exit(main())

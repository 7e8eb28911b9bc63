"""Where the time of `godwit migrate` goes: phase by phase, and within the blackout.

    python -m benchmarks.phases [--moves 10] [--rate unlimited] [-- FLAGS OF MIGRATE...]

An idle VM goes there and back in a lab of its own; medians of all moves but the first are printed. The phases are those
of the report, before them the command's start until the manager has noted the request, after them its end.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise
from pathlib import Path

from benchmarks.figures import table
from godwit.core.milestones import Milestone
from godwit.core.phase import Phase
from godwit.core.report import Report
from godwit.lab.scenario import Scenario
from godwit.lab.settings import Settings

VM = "web"
OTHER = {"host-a": "host-b", "host-b": "host-a"}
PHASES = (
    *(Phase.checking, Phase.reserving, Phase.preparing, Phase.copying, Phase.handing_over, Phase.settling),
    Phase.done,
)
START, REQUEST, END, ALL = "the command's start", "the request", "the command's end", "in all"


def spent(report: Report, begun_ms: float, ended_ms: float) -> dict[str, float]:
    """Milliseconds by phase; times are Unix time in milliseconds."""
    zero_ms = report.stopped_at_ms or report.started_at.timestamp() * 1000
    at_ms: dict[str, float] = {}
    for entry in report.timeline:
        at_ms.setdefault(entry.event, zero_ms + entry.at_ms)
    requested_ms = report.started_at.timestamp() * 1000
    found = {START: requested_ms - begun_ms, REQUEST: at_ms[Phase.checking] - requested_ms}
    for phase, following in pairwise(PHASES):
        found[phase] = at_ms[following] - at_ms[phase]
    return found | {END: ended_ms - at_ms[Phase.done], ALL: ended_ms - begun_ms}


def agreed(report: Report) -> dict[str, float]:
    """Milliseconds of the destination's agent between the end of loading and `cont`, piece by piece."""
    at_ms: dict[str, float] = {}
    for entry in report.timeline:
        at_ms.setdefault(entry.event, entry.at_ms)
    heard, told = at_ms[Milestone.heard], at_ms[Milestone.told]
    both = max(heard, told)
    return {
        "its agent hears of it": heard - at_ms[Milestone.loaded],
        "the source's word is awaited": both - heard,
        "the journal is written": at_ms[Milestone.written] - both,
        "the taps are unmuted": at_ms[Milestone.started] - at_ms[Milestone.written],
        "(the word came after loading by": told - at_ms[Milestone.loaded],
    }


def measure(lab: Scenario, moves: int, flags: Sequence[str]) -> tuple[list[dict[str, float]], list[Report]]:
    """By move: what its phases took, and its report; the first move, which warms everything up, is left out."""
    figures, reports = [], []
    for _ in range(moves + 1):
        here = lab.client.vm(VM).host
        assert here is not None
        begun = time.time()
        report = lab.migrate(VM, OTHER[here], *flags)
        figures.append(spent(report, 1000 * begun, 1000 * time.time()))
        reports.append(report)
        lab.wait_tidy()
    return figures[1:], reports[1:]


def shown(figures: Iterable[Mapping[str, float]]) -> str:
    """Medians, as a table."""
    rows = list(figures)
    return table(("part", "ms"), [(name, f"{statistics.median(row[name] for row in rows):.1f}") for name in rows[0]])


def main() -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--moves", type=int, default=10)
    parser.add_argument("--rate", default="unlimited", help="of the lab's links")
    parser.add_argument("flags", nargs="*", help="of `godwit migrate`")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="gw") as name, Scenario(Path(name), Settings(rate=asked.rate)) as lab:
        lab.create_vm(VM, "host-a")
        lab.wait_ready(VM)
        figures, reports = measure(lab, asked.moves, asked.flags)
    print(shown(figures))
    parts = [each.blackout_parts.model_dump() for each in reports if each.blackout_parts]
    print(f"\n{shown(each | {ALL: sum(each.values())} for each in parts)}" if parts else "")
    print(f"\nOf agreeing:\n{shown(agreed(each) for each in reports if each.blackout_parts)}")


if __name__ == "__main__":
    main()

"""What each of a VM's devices costs in the blackout, by QEMU's own trace events at both ends.

    python -m benchmarks.devices [--moves 10]

An idle VM goes there and back in a lab of its own. Tracing is switched on over QMP at the running QEMU, and at the one
that waits as soon as it answers. A line in qemu.log for each event makes devices cost a little more than they do.
"""

from __future__ import annotations

import argparse
import asyncio
import re
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from statistics import median

from benchmarks.figures import table
from benchmarks.phases import OTHER, VM
from godwit.core.errors import Failed, GodwitError
from godwit.core.milestones import Milestone
from godwit.core.report import Report
from godwit.lab.scenario import PATIENCE_S, Scenario
from godwit.lab.settings import Settings
from godwit.qemu.monitor import Monitor

SAVED = ("savevm_section_start", "savevm_section_end")
LOADED = ("qemu_loadvm_state_section_startfull", "qemu_loadvm_state_post_main")
STREAMED = frozenset({"ram", "dirty-bitmap"})
"""What is sent while the guest runs, and is no device."""
_LINE = re.compile(r"^\d+@(?P<at>\d+\.\d+):(?P<event>\w+) (?P<about>.*)$", re.MULTILINE)


@dataclass(frozen=True)
class Traced:
    """One line of QEMU's trace."""

    at_ms: float
    event: str
    about: str


def read(log: str) -> list[Traced]:
    """The lines of a trace, whatever else is between them."""
    return [Traced(1000 * float(each["at"]), each["event"], each["about"]) for each in _LINE.finditer(log)]


def saving(lines: Sequence[Traced]) -> dict[str, float]:
    """Milliseconds by device, at the source."""
    found: dict[str, float] = {}
    for begin, end in pairwise([each for each in lines if each.event in SAVED]):
        if (begin.event, end.event) == SAVED and (name := _device(begin)):
            found[name] = end.at_ms - begin.at_ms
    return found


def loading(lines: Sequence[Traced]) -> dict[str, float]:
    """Milliseconds by device, at the destination: from its section's begin to that of the next, waiting included."""
    found: dict[str, float] = {}
    for begin, end in pairwise([each for each in lines if each.event in LOADED]):
        if begin.event == LOADED[0] and (name := _device(begin)):
            found[name] = end.at_ms - begin.at_ms
    return found


def _device(line: Traced) -> str:
    """Its name by the line; none, if that is about what is sent while the guest runs.

    Sections are told of as `NAME, section_id 4...` at the source, as `4(NAME) 0 11` at the destination.
    """
    is_loaded = line.event == LOADED[0]
    name = line.about.partition("(")[2].partition(")")[0] if is_loaded else line.about.partition(",")[0].strip()
    return "" if name in STREAMED else name


class Log:
    """qemu.log of one QEMU that is being traced, kept open because its directory goes when the VM has left."""

    def __init__(self, lab: Scenario, host: str) -> None:
        self._place = Path(f"/proc/{lab.look().node(host).pid}/root/run/godwit/vms/{VM}")
        self._until = time.monotonic() + PATIENCE_S
        self._text = ""
        self._thread = threading.Thread(target=lambda: asyncio.run(self._trace()), daemon=True)
        self._thread.start()

    def lines(self) -> list[Traced]:
        """All so far; whoever began to trace has."""
        self._thread.join()
        self._file.seek(0)
        return read(self._file.read())

    async def _trace(self) -> None:
        monitor = await self._monitor()
        self._file = (self._place / "qemu.log").open(errors="replace")
        for event in (*SAVED, *LOADED):
            await monitor.execute("trace-event-set-state", name=event, enable=True)
        await monitor.close()

    async def _monitor(self) -> Monitor:
        while time.monotonic() < self._until:
            with suppress(GodwitError, OSError):
                return await Monitor.connect(self._place / "keeper.sock")
            await asyncio.sleep(0.002)
        raise Failed(f"no QEMU of {VM} answers in {self._place}")


@dataclass(frozen=True)
class Move:
    """What one move's devices took, and when what happened, in milliseconds from STOP."""

    saved: dict[str, float]
    loaded: dict[str, float]
    at_ms: dict[str, float]


def traced(lab: Scenario) -> Move:
    """One move."""
    here = lab.client.vm(VM).host
    assert here is not None
    source, destination = Log(lab, here), Log(lab, OTHER[here])
    source.lines()
    report = lab.migrate(VM, OTHER[here], "--plaintext")
    sent, received = source.lines(), destination.lines()
    lab.wait_tidy()
    return Move(saving(sent), loading(received), moments(report, sent, received))


def moments(report: Report, sent: Sequence[Traced], received: Sequence[Traced]) -> dict[str, float]:
    """Of the switch-over, from STOP on."""
    assert report.stopped_at_ms is not None
    told = {entry.event: entry.at_ms for entry in report.timeline}
    saved = [each.at_ms - report.stopped_at_ms for each in sent if each.event in SAVED and _device(each)]
    loaded = [each.at_ms - report.stopped_at_ms for each in received if each.event == LOADED[0] and _device(each)]
    ended = [each.at_ms - report.stopped_at_ms for each in received if each.event == LOADED[1]]
    return {
        "source: what was left of memory is sent, the first device's turn comes": saved[0],
        "source: the last device is saved": saved[-1],
        "source: all is sent": told[Milestone.sent],
        "destination: what was left of memory is here, the first device's turn comes": loaded[0],
        "destination: the last device is loaded": ended[-1],
        "destination: all is loaded": told[Milestone.loaded],
        "destination: its vCPUs run": told[Milestone.resumed],
    }


def device_rows(moves: Sequence[Move]) -> Iterator[tuple[str, str, str]]:
    """Medians by device, the dearest first, and of their sums."""
    names = {**moves[0].saved, **moves[0].loaded}
    cost = {
        name: (
            median(move.saved.get(name, 0.0) for move in moves),
            median(move.loaded.get(name, 0.0) for move in moves),
        )
        for name in names
    }
    for name, (saved, loaded) in sorted(cost.items(), key=lambda each: -sum(each[1])):
        yield name, f"{saved:.2f}", f"{loaded:.2f}"
    sums = median(sum(move.saved.values()) for move in moves), median(sum(move.loaded.values()) for move in moves)
    yield "in all", f"{sums[0]:.2f}", f"{sums[1]:.2f}"


def main() -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--moves", type=int, default=10)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="gw") as name, Scenario(Path(name), Settings(rate="unlimited")) as lab:
        lab.create_vm(VM, "host-a")
        lab.wait_ready(VM)
        moves = [traced(lab) for _ in range(asked.moves + 1)][1:]
    print(table(("device", "saving ms", "loading ms"), list(device_rows(moves))))
    when = [(what, f"{median(move.at_ms[what] for move in moves):.2f}") for what in moves[0].at_ms]
    print(f"\n{table(('', 'ms after STOP'), when)}")


if __name__ == "__main__":
    main()

"""What a migration costs its clients in frames and silence: godwit and bare QEMU in turn, in one lab.

    priority, fifo  a TCP client that asks and waits, one question a millisecond, beside 2,000 datagrams a second that
                    the guest sends back; the migration link with two queues, or one. The stall is the longest wait for
                    an answer that came after STOP; what QEMU makes clients wait when copying begins is told apart
    bulk            a download and an upload
    flood           10,000 datagrams a second towards the VM, and a run of the same length in which nothing moves
    relay           the same flood, while the switch learns nothing of the new place (godwit only)

Nothing has to be prepared. Each migration is kept in build/bench-network.runs.jsonl at once: an interrupted run has
printed its tables, and the next one goes on where it stopped; `--fresh` begins anew.
"""

from __future__ import annotations

import argparse
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

from benchmarks.figures import Runs, write
from benchmarks.network_runs import PEERS, Bench, Run, bench
from benchmarks.network_tables import shown, summed
from godwit.core.errors import GodwitError
from godwit.lab.settings import LinkQueue

RESULT = Path("build/bench-network.json")
TABLES = Path("build/bench-network.md")
RUNS = Path("build/bench-network.runs.jsonl")
BROKEN = (GodwitError, RuntimeError, OSError, ValueError, LookupError, AssertionError, subprocess.SubprocessError)
"""What a run may end with that tells nothing of the next one."""
FAILURES_MOST = 5
"""Then a case is given up."""


@dataclass(frozen=True)
class Case:
    """What is run, how often for each peer, over which link."""

    run: Callable[[Bench, str], Run]
    times: int
    queue: LinkQueue = LinkQueue.priority
    peers: Sequence[str] = PEERS


CASES: Mapping[str, Case] = MappingProxyType(
    {
        "priority": Case(Bench.probe, 50),
        "bulk": Case(Bench.bulk, 10),
        "flood": Case(Bench.flooded, 5),
        "relay": Case(Bench.standing, 3, peers=("godwit",)),
        "fifo": Case(Bench.probe, 15, LinkQueue.fifo),
    }
)
"""In order of what they are worth to a run that ends early."""


@dataclass
class Measuring:
    """What is left to do, and until when."""

    runs: Runs
    most: int
    until: float

    def missing(self, name: str, case: Case) -> Counter[str]:
        """Migrations of each peer."""
        wanted = min(case.times, self.most)
        return Counter({peer: wanted - len(self.runs.of(case=name, peer=peer, outcome="done")) for peer in case.peers})

    def all(self, names: Sequence[str]) -> None:
        """There are as many runs of each case as wanted, or the time is over; a lab in which one failed is given up."""
        failures: Counter[str] = Counter()
        for queue in LinkQueue:
            here = [name for name in names if CASES[name].queue is queue]
            while here and time.monotonic() < self.until:
                try:
                    with bench(queue) as measured:
                        for name in list(here):
                            self._case(measured, name)
                            here.remove(name)
                except BROKEN as error:
                    failures[here[0]] += 1
                    self._failed(here[0], error)
                    if failures[here[0]] == FAILURES_MOST:
                        here.pop(0)

    def _case(self, measured: Bench, name: str) -> None:
        case = CASES[name]
        while (missing := +self.missing(name, case)) and time.monotonic() < self.until:
            done = {peer: case.run(measured, peer) for peer, _ in missing.most_common()}
            for peer, run in done.items():
                self.runs.add({"case": name, "peer": peer, "outcome": "done"} | measured.settled(run))
                _say(self.runs.all[-1])

    def _failed(self, name: str, error: Exception) -> None:
        said = getattr(error, "message", None) or repr(error)
        self.runs.add({"case": name, "peer": "", "outcome": "failed", "error": said})
        print(f"{name}: failed, and goes on in another lab: {said}", file=sys.stderr, flush=True)


_SHOWN = ("stall_ms", "blackout_ms", "lost_frames", "duplicates", "rto", "retransmissions", "spurious")


def _say(run: Run) -> None:
    words = [f"{name.removesuffix('_ms')} {run[name]:.0f}" for name in _SHOWN if name in run]
    print(f"{run['case']} {run['peer']}: {', '.join(words)}", file=sys.stderr, flush=True)


def _interrupt(*_: object) -> None:
    raise KeyboardInterrupt


def main() -> int:
    """Measures, prints the tables and leaves the figures in build/; 130 if it was interrupted."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=50, help="migrations of each peer in each case, at most")
    parser.add_argument("--minutes", type=float, default=600.0, help="stop after that time, to be continued")
    parser.add_argument("--cases", type=lambda text: text.split(","), default=list(CASES), help="some of them only")
    parser.add_argument("--fresh", action="store_true", help="forget what was measured before")
    asked = parser.parse_args()
    signal.signal(signal.SIGTERM, _interrupt)
    if asked.fresh:
        RUNS.unlink(missing_ok=True)
    runs, status = Runs(RUNS), 0
    try:
        Measuring(runs, asked.runs, time.monotonic() + asked.minutes * 60).all(asked.cases)
    except KeyboardInterrupt:
        status = 130
    result = summed(runs.all)
    write(RESULT, result)
    TABLES.write_text(shown(result) + "\n")
    print(shown(result))
    return status


if __name__ == "__main__":
    sys.exit(main())

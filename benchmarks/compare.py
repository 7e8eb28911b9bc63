"""`make bench`: godwit, bare QEMU and virsh move VMs in turn, over the same links, and all figures are written down.

Each round of a case moves one VM of each peer once, one after the other; those that are not being measured stand
still. Every result is appended to `build/bench/runs.jsonl` at once, so that a run that was interrupted goes on where
it stopped (`--fresh` starts anew). `--quick` takes four cases and seven minutes.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from benchmarks.figures import machine, write
from benchmarks.peer_godwit import Godwit
from benchmarks.peer_qemu import Bare, BareVm
from benchmarks.peer_virsh import LibvirtVm, Virsh, version
from benchmarks.place import GODWIT_VM, Moved, Peer, Site
from benchmarks.tables import document, page, picture
from benchmarks.tally import Run
from godwit.core.errors import Failed, GodwitError, TimedOut
from godwit.lab.scenario import Scenario
from godwit.lab.settings import Settings

OUT = Path("build")
BEFORE_S = 0.4
LOADED_S = 1.5
"""So long a load runs before the VM moves: the memory that it dirties is dirty once."""
AFTER_MS = 1000.0
"""Longer than the second retransmission timeout."""
LIMIT_S = 60.0
FAST_ENOUGH = 4096
TOO_MANY_FAILURES = 3


@dataclass(frozen=True)
class Case:
    """What the guest does, and over which link it moves."""

    name: str
    rate: str
    load: tuple[str, str] | None = None
    """Of `load.py`: what, and how many MB/s."""

    @property
    def is_bulk(self) -> bool:
        """Its stall is the longest silence of the transfer."""
        return self.load is not None and self.load[0] != "dirty"


LOADS = {"idle": None, "dirty": ("dirty", "20"), "download": ("download", "20"), "upload": ("upload", "20")}
CASES = tuple(Case(f"{load}-{rate}", rate, words) for rate in ("unlimited", "1gbit") for load, words in LOADS.items())
HOPELESS = Case("dirties-faster-than-the-link", "200mbit", ("dirty", "40"))
QUICK = ("idle-unlimited", "dirty-unlimited", "dirty-1gbit", "download-1gbit")
TLS = "godwit-tls"


@dataclass
class Plan:
    """What this run does."""

    cases: Sequence[Case]
    rounds: int
    until_s: float
    """On the monotonic clock."""
    done: list[Run]
    journal: Path
    peers: frozenset[str]

    def is_left(self, case: Case, peer: str, round: int) -> bool:
        """It was not measured yet, and is wanted."""
        return (not self.peers or peer in self.peers) and not any(
            (each.case, each.peer, each.round) == (case.name, peer, round) for each in self.done
        )

    def note(self, run: Run) -> None:
        """It is on the disk."""
        self.done.append(run)
        with self.journal.open("a") as file:
            file.write(run.model_dump_json() + "\n")
        words = [f"{run.case:28} {run.peer:12} {run.round:2}"]
        words += [
            f"{name.removesuffix('_ms')} {getattr(run, name):6.1f}" for name in _SHOWN if getattr(run, name) is not None
        ]
        print("  ".join([*words, run.outcome if run.outcome != "done" else "", run.note]).rstrip(), flush=True)


_SHOWN = ("stall_ms", "blackout_ms", "warm_up_ms", "command_ms", "total_ms")


def main() -> int:
    """Exit status 0 if every figure that was wanted is there."""
    asked = _asked()
    OUT.mkdir(exist_ok=True)
    home = OUT / ("bench-quick" if asked.quick else "bench")
    home.mkdir(exist_ok=True)
    journal = home / "runs.jsonl"
    if asked.fresh or asked.quick:
        journal.unlink(missing_ok=True)
    done = [Run.model_validate_json(line) for line in journal.read_text().splitlines()] if journal.exists() else []
    chosen = [each for each in (*CASES, HOPELESS) if not asked.cases or each.name in asked.cases]
    plan = Plan(chosen, asked.rounds, time.monotonic() + 60 * asked.minutes, done, journal, frozenset(asked.peers))
    facts = _machine()
    try:
        for number, rate in enumerate(rates := list(dict.fromkeys(case.rate for case in chosen))):
            left_s = plan.until_s - time.monotonic()
            _measure(plan, rate, until_s=time.monotonic() + left_s / (len(rates) - number), facts=facts)
    except GodwitError as error:
        print(f"bench: {error.message}", file=sys.stderr)
        return error.exit_status
    finally:
        if plan.done:
            _write(plan.done, facts, home)
    return 0


def _asked() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="bench", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="four cases, seven minutes")
    parser.add_argument("--fresh", action="store_true", help="forget what an earlier run measured")
    parser.add_argument("--rounds", type=int, default=10, help="how often each peer moves its VM in each case")
    parser.add_argument("--minutes", type=float, help="when to stop")
    parser.add_argument("--cases", type=lambda text: text.split(","), default=())
    parser.add_argument("--peers", type=lambda text: text.split(","), default=())
    asked = parser.parse_args()
    asked.minutes = asked.minutes or (6.8 if asked.quick else 85.0)
    asked.cases = asked.cases or (QUICK if asked.quick else ())
    return asked


def _measure(plan: Plan, rate: str, *, until_s: float, facts: dict[str, Any]) -> None:
    """All cases over links of that rate, round by round, so that a run that ends early has some of each."""
    cases = [each for each in plan.cases if each.rate == rate]
    with _site(rate) as site:
        print(f"bench: lab with links of {rate}, starting VMs", flush=True)
        peers = _peers(site)
        facts |= {"libvirt": version(site)}
        for peer in peers:
            site.freeze(peer, frozen=True)
        failures: dict[str, int] = {}
        for round in range(plan.rounds if cases != [HOPELESS] else 1):
            for case in cases:
                order = peers[round % len(peers) :] + peers[: round % len(peers)]
                for peer in order:
                    if time.monotonic() > until_s:
                        return
                    if failures.get(peer.name, 0) < TOO_MANY_FAILURES and plan.is_left(case, peer.name, round):
                        run = _attempt(site, case, peer, round, facts)
                        plan.note(run)
                        failures[peer.name] = failures.get(peer.name, 0) + 1 if run.outcome == "broken" else 0


@contextmanager
def _site(rate: str) -> Iterator[Site]:
    with tempfile.TemporaryDirectory(prefix="gw") as name:
        directory = Path(name)
        (directory / "l").mkdir()
        with Scenario(directory / "l", Settings(rate=rate)) as lab:
            lab.create_vm(GODWIT_VM, "host-a")
            with Site(lab, directory) as site:
                yield site


def _peers(site: Site) -> list[Peer]:
    libvirt, bare = LibvirtVm(site), BareVm(site)
    options = site.lab.demand("migrate", "--help")
    plain = ("--plaintext",) if "--plaintext" in options else ()
    ours = [Godwit(site, "godwit", *plain), *([Godwit(site, TLS)] if plain else [])]
    return [
        Virsh(libvirt),
        Bare(bare, same=False),
        ours[0],
        Virsh(libvirt, max_downtime_ms=10),
        Bare(bare, same=True),
        *ours[1:],
    ]


def _attempt(site: Site, case: Case, peer: Peer, round: int, facts: dict[str, Any]) -> Run:
    site.freeze(peer, frozen=False)
    try:
        return _once(site, case, peer, round, facts)
    except TimedOut as error:
        return Run(
            case=case.name, peer=peer.name, round=round, outcome=f"not within {LIMIT_S:.0f} s", note=error.message
        )
    except Failed as error:
        outcome = "refused" if case is HOPELESS else "broken"
        return Run(case=case.name, peer=peer.name, round=round, outcome=outcome, note=error.message)
    finally:
        site.freeze(peer, frozen=True)


def _once(site: Site, case: Case, peer: Peer, round: int, facts: dict[str, Any]) -> Run:
    probe = site.python("probe", peer.address)
    load = site.python("load", case.load[0], peer.address, case.load[1]) if case.load else None
    try:
        before = probe.json()
        if load:
            load.line()
        time.sleep(LOADED_S if load else BEFORE_S)
        if load:
            load.tell("")
        begun_ms = time.time() * 1000
        mover = peer.hurried(LIMIT_S) if case is HOPELESS and isinstance(peer, Godwit) else peer
        moved = mover.migrate(limit_s=LIMIT_S)
        probe.tell(json.dumps(_window(begun_ms, moved)))
        seen = probe.json()
        if load:
            load.close_input()
            seen |= {"load": load.json()}
    finally:
        for program in (probe, load):
            if program:
                program.end()
    facts["congestion_control"] = seen["congestion_control"]
    return _run(case, peer.name, round, moved=moved, seen=seen, before=before)


def _window(begun_ms: float, moved: Moved) -> dict[str, float]:
    return {"from_ms": begun_ms, "resumed_ms": moved.resumed_ms, "to_ms": moved.resumed_ms + AFTER_MS}


def _run(case: Case, peer: str, round: int, *, moved: Moved, seen: dict[str, Any], before: dict[str, Any]) -> Run:
    load = seen.get("load")
    notes = [seen["error"] or ""] + ([f"{load['rate_mb']:.0f} MB/s"] if load else [])
    return Run(
        case=case.name,
        peer=peer,
        round=round,
        outcome="connection lost" if seen["error"] else "done",
        stall_ms=load["stall_ms"] if load and case.is_bulk else seen["stall_ms"],
        blackout_ms=moved.resumed_ms - moved.stopped_ms,
        warm_up_ms=seen["warm_up_ms"],
        command_ms=moved.command_ms,
        total_ms=moved.total_ms,
        transferred_bytes=moved.transferred_bytes,
        lost_frames=seen["lost"],
        rto=seen["TCPTimeouts"] - before["TCPTimeouts"],
        retransmissions=seen["retransmissions"],
        resets=seen["EstabResets"] - before["EstabResets"],
        migration_ms=moved.migration_ms,
        forecast_total_ms=moved.forecast_total_ms,
        forecast_blackout_ms=moved.forecast_blackout_ms,
        note=" ".join(filter(None, notes)),
    )


def _machine() -> dict[str, Any]:
    words = next(line for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("model name"))
    qemu = subprocess.run(["qemu-system-x86_64", "--version"], capture_output=True, text=True, check=True).stdout
    commit = subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False).stdout
    return {
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
        **machine(),
        "load": f"{os.getloadavg()[0]:.1f} at the beginning",
        "cpu": words.partition(":")[2].strip(),
        "qemu": qemu.split()[3],
        "commit": commit.strip(),
        "guest": "256 MiB, 1 vCPU, emulated (TCG)",
    }


def _write(runs: Sequence[Run], facts: dict[str, Any], home: Path) -> None:
    found = document(runs, facts)
    write(OUT / "bench.json", found)
    (home / "bench.md").write_text(page(found))
    (home / "bench.svg").write_text(picture(runs))
    print(page(found))
    print(f"bench: {OUT / 'bench.json'}, {home / 'bench.md'} and {home / 'bench.svg'} are written")


if __name__ == "__main__":
    sys.exit(main())

"""`make bench`: godwit, bare QEMU and virsh move VMs in turn, over the same links, and all figures are written down.

Each round of a case moves one VM of each peer once, one after the other; those that are not being measured stand
still. Every result is appended to `runs.jsonl` at once, in a directory of its own for quick and full runs and for each
QEMU, so that a full run that was interrupted goes on where it stopped (`--fresh` starts anew). `--quick` takes four
cases and seven minutes.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from benchmarks.cases import ALL_PEERS, CASES, COMPRESSING, HOPELESS, QUICK, Case, Plan, copy_of, home_of
from benchmarks.emulator import Emulator, chosen
from benchmarks.figures import Runs, commit, machine, write
from benchmarks.peer_godwit import Godwit
from benchmarks.peer_qemu import Bare, BareVm
from benchmarks.peer_virsh import LibvirtVm, Virsh, version
from benchmarks.place import GODWIT_VM, HOSTS, Moved, Peer, Site
from benchmarks.tables import document, page, picture
from benchmarks.tally import Run
from godwit.core.errors import Failed, GodwitError, Refused, TimedOut
from godwit.lab.scenario import Scenario
from godwit.lab.settings import Settings

OUT = Path("build")
BEFORE_S = 0.4
LOADED_S = 1.5
"""So long a load runs before the VM moves: the memory that it dirties is dirty once."""
AFTER_MS = 1000.0
"""Longer than the second retransmission timeout."""
LIMIT_S = 60.0
TOO_MANY_FAILURES = 3
ROUNDS = 10
MINUTES, QUICK_MINUTES = 85.0, 6.8


def main() -> int:
    """Exit status 0 if every figure that was wanted is there."""
    asked = _asked()
    home = OUT / home_of(quick=asked.quick, qemu=asked.qemu)
    if asked.fresh or asked.quick:
        (home / "runs.jsonl").unlink(missing_ok=True)
    cases = [each for each in (*CASES, HOPELESS) if not asked.cases or each.name in asked.cases]
    plan = Plan(cases, asked.rounds, Runs(home / "runs.jsonl"), asked.peers)
    facts = _earlier(plan, home)
    until_s = time.monotonic() + 60 * asked.minutes
    print(f"bench: {plan.sentence}; it stops after {asked.minutes:g}", flush=True)
    try:
        emulator = chosen(asked.qemu)
        for rate in plan.rates():
            left_s = until_s - time.monotonic()
            _measure(plan, rate, emulator, until_s=time.monotonic() + left_s * plan.share(rate), facts=facts)
    except GodwitError as error:
        print(f"bench: {error.message}", file=sys.stderr)
        return error.exit_status
    except KeyboardInterrupt:
        print("bench: stopped; a full run goes on from here when it is started again", file=sys.stderr)
        return 130
    finally:
        if plan.done:
            _write(plan, facts, home, copy=OUT / copy_of(qemu=asked.qemu), kind="quick" if asked.quick else "full")
    return 0


def _asked() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="bench", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="four cases, seven minutes")
    parser.add_argument("--qemu", metavar="MAJOR", help="its major version, such as 10; none: the installed one")
    parser.add_argument("--fresh", action="store_true", help="forget what an earlier run measured")
    parser.add_argument("--rounds", type=int, default=ROUNDS, help="how often each peer moves its VM in each case")
    parser.add_argument("--minutes", type=float, help="when to stop")
    parser.add_argument("--cases", type=_names(each.name for each in (*CASES, HOPELESS)), default=())
    parser.add_argument("--peers", type=_names(ALL_PEERS), default=ALL_PEERS)
    asked = parser.parse_args()
    asked.minutes = asked.minutes or (QUICK_MINUTES if asked.quick else MINUTES)
    asked.cases = asked.cases or (QUICK if asked.quick else ())
    return asked


def _names(known: Iterable[str]) -> Callable[[str], list[str]]:
    allowed = list(known)

    def names(text: str) -> list[str]:
        """Some of those that there are."""
        if unknown := [each for each in text.split(",") if each not in allowed]:
            raise argparse.ArgumentTypeError(f"there is no {', '.join(unknown)}: name some of {', '.join(allowed)}")
        return text.split(",")

    return names


def _earlier(plan: Plan, home: Path) -> dict[str, Any]:
    """What an earlier run that is gone on with was measured on; it is told of, and if it measured another godwit."""
    if not plan.done:
        return {}
    others = sorted({each.commit for each in plan.done} - {commit()})
    of = f", of commit {' and '.join(others)} (--fresh forgets them)" if others else ""
    print(f"bench: {len(plan.done)} moves were measured before{of}", flush=True)
    file = home / "bench.json"
    return dict(json.loads(file.read_text())["machine"]) if file.exists() else {}


def _measure(plan: Plan, rate: str, emulator: Emulator, *, until_s: float, facts: dict[str, Any]) -> None:
    """What is left over links of that rate, as far as the time goes."""
    with _site(rate, emulator) as site:
        print(f"bench: QEMU {emulator.version}, links of {rate}, starting VMs", flush=True)
        peers = _peers(site)
        facts |= {**_machine(emulator), "libvirt": version(site)}
        for peer in peers.values():
            site.freeze(peer, frozen=True)
        failures = dict.fromkeys(peers, 0)
        for case, name, round in plan.left(rate):
            if time.monotonic() > until_s:
                return
            if failures[name] < TOO_MANY_FAILURES:
                run = _attempt(site, case, peers[name], round, facts)
                plan.note(run)
                _print(run)
                failures[name] = failures[name] + 1 if run.outcome == "broken" else 0


_SHOWN = ("stall_ms", "hold_ms", "blackout_ms", "warm_up_ms", "command_ms", "total_ms")


def _print(run: Run) -> None:
    words = [f"{run.case:28} {run.peer:12} {run.round:2}"]
    words += [
        f"{name.removesuffix('_ms')} {getattr(run, name):6.1f}" for name in _SHOWN if getattr(run, name) is not None
    ]
    print("  ".join([*words, run.outcome if run.outcome != "done" else "", run.note]).rstrip(), flush=True)


@contextmanager
def _site(rate: str, emulator: Emulator) -> Iterator[Site]:
    trees = dict.fromkeys(HOSTS, emulator.tree) if emulator.tree else {}
    with tempfile.TemporaryDirectory(prefix="gw") as name:
        directory = Path(name)
        (directory / "l").mkdir()
        with Scenario(directory / "l", Settings(rate=rate, qemu=trees)) as lab:
            lab.create_vm(GODWIT_VM, "host-a")
            with Site(lab, directory, emulator) as site:
                yield site


def _peers(site: Site) -> Mapping[str, Peer]:
    """All of them, by name."""
    libvirt, bare = LibvirtVm(site), BareVm(site)
    peers: tuple[Peer, ...] = (
        *(Virsh(libvirt), Virsh(libvirt, max_downtime_ms=10)),
        *(Bare(bare, same=False), Bare(bare, same=True)),
        *(Godwit(site, "godwit", "--plaintext"), Godwit(site, "godwit-tls")),
        Godwit(site, COMPRESSING, "--plaintext", "--compress", "zstd"),
    )
    return {peer.name: peer for peer in peers}


def _attempt(site: Site, case: Case, peer: Peer, round: int, facts: dict[str, Any]) -> Run:
    words = {"case": case.name, "peer": peer.name, "round": round, "commit": facts["commit"]}
    site.freeze(peer, frozen=False)
    try:
        return _once(site, case, peer, facts).model_copy(update=words)
    except TimedOut as error:
        return Run(**words, outcome=f"not within {LIMIT_S:.0f} s", note=error.message)
    except Refused as error:
        return Run(**words, outcome="refused", note=error.message)
    except Failed as error:
        return Run(**words, outcome="given up" if case is HOPELESS else "broken", note=error.message)
    finally:
        site.freeze(peer, frozen=True)


def _once(site: Site, case: Case, peer: Peer, facts: dict[str, Any]) -> Run:
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
    return _run(case, peer.name, moved=moved, seen=seen, before=before)


def _window(begun_ms: float, moved: Moved) -> dict[str, float]:
    return {
        "from_ms": begun_ms,
        "stopped_ms": moved.stopped_ms,
        "resumed_ms": moved.resumed_ms,
        "to_ms": moved.resumed_ms + AFTER_MS,
    }


def _run(case: Case, peer: str, *, moved: Moved, seen: dict[str, Any], before: dict[str, Any]) -> Run:
    load = seen.get("load")
    notes = [seen["error"] or ""] + ([f"{load['rate_mb']:.0f} MB/s"] if load else [])
    return Run(
        case=case.name,
        peer=peer,
        round=0,
        outcome="connection lost" if seen["error"] else "done",
        stall_ms=load["stall_ms"] if load and case.is_bulk else seen["stall_ms"],
        hold_ms=seen["hold_ms"],
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


def _machine(emulator: Emulator) -> dict[str, Any]:
    words = next(line for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("model name"))
    return {
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
        **machine(),
        "load": f"{os.getloadavg()[0]:.1f} at the beginning",
        "cpu": words.partition(":")[2].strip(),
        "qemu": emulator.version,
        "commit": commit(),
        "guest": "256 MiB, 1 vCPU, emulated (TCG)",
    }


def _write(plan: Plan, facts: Mapping[str, Any], home: Path, *, copy: Path, kind: str) -> None:
    runs = plan.done
    commits = dict.fromkeys(each.commit for each in runs)
    found = document(runs, {**facts, "commit": " and ".join(commits)}, kind=kind, rounds=plan.rounds)
    for file in (home / "bench.json", copy):
        write(file, found)
    (home / "bench.md").write_text(page(found))
    (home / "bench.svg").write_text(picture(runs))
    print(page(found))
    print(f"bench: {home / 'bench.json'} (and {copy}), bench.md and bench.svg there are written")


if __name__ == "__main__":
    sys.exit(main())

"""What a migration costs its clients in frames and silence: godwit and bare QEMU in turn, in one lab.

Each migration is watched by a TCP client that asks and waits, one question a millisecond, and by 2,000 datagrams a
second that the guest sends back. An interrupted run goes on where it stopped; `--fresh` begins anew.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from typing import Any

from benchmarks.bare import ADDRESS as BARE_ADDRESS
from benchmarks.bare import BareVm
from benchmarks.figures import Runs, machine, spread, table, write
from godwit.core.report import Report
from godwit.lab.scenario import Running, Scenario, wait_until
from godwit.lab.settings import LinkQueue, Settings
from godwit.lab.topology import MIGRATION, Topology
from godwit.lab.traffic import Traffic

RESULT = Path("build/bench-network.json")
RUNS = Path("build/bench-network.runs.jsonl")
HOSTS = ("host-a", "host-b")
RATE = 2000
BEFORE_S, AFTER_S = 1.0, 2.0
PROBE_S = {"godwit": 8.0, "qemu": 6.0}
CASES = {"priority": LinkQueue.priority, "fifo": LinkQueue.fifo}


class Bench:
    """A lab with a VM of each kind."""

    def __init__(self, lab: Scenario, bare: BareVm) -> None:
        self.lab = lab
        self.bare = bare
        self.peers: dict[str, Callable[[], dict[str, Any]]] = {"godwit": self._godwit, "qemu": self._bare}

    def run(self, peer: str) -> dict[str, Any]:
        """One migration of that peer's VM, and what its clients saw."""
        address = self._address(peer)
        client = self.lab.look().node("client").enter
        timeouts = self._timeouts()
        with Traffic(address, kinds=("echo",), node=client) as traffic:
            words = [sys.executable, "-m", "godwit.lab.udp_probe", address, "--times"]
            probe = Running([*client, *words, "--rate", str(RATE), "--seconds", str(PROBE_S[peer])])
            time.sleep(BEFORE_S)
            traffic.mark("migration")
            moved = self.peers[peer]()
            counted = json.loads(probe.end().out)
            echo = traffic.stop().clients[0]
        window = echo.windows[-1]
        return moved | {
            "lost_frames": counted["lost"],
            "duplicates": counted["duplicates"],
            "reordered": counted["reordered"],
            "udp_gap_ms": _longest_gap(counted["arrived"]),
            "warm_up_ms": _warm_up(counted, moved["resumed_at_ms"]),
            "stall_ms": window.stall_ms,
            "retransmissions": window.retransmissions,
            "spurious": window.spurious_retransmissions,
            "resets": int(not echo.survived),
            "rto": self._timeouts() - timeouts,
        }

    def _address(self, peer: str) -> str:
        nic = self.lab.client.vm("web").nics[0]
        assert nic.ip is not None
        return str(nic.ip.ip) if peer == "godwit" else BARE_ADDRESS

    def _godwit(self) -> dict[str, Any]:
        here = self.lab.client.vm("web").host
        cpu = self._agents_cpu_ms()
        begun = time.monotonic()
        report = self.lab.migrate("web", _other(str(here)))
        command_ms = (time.monotonic() - begun) * 1000
        cpu_ms = self._agents_cpu_ms() - cpu
        return _of_report(report) | {"command_ms": command_ms, "agents_cpu_ms": cpu_ms, "id": report.id}

    def _bare(self) -> dict[str, Any]:
        moved = self.bare.migrate(_other(self.bare.host))
        blackout_ms = moved["resumed_at_ms"] - moved["stopped_at_ms"]
        return moved | {"blackout_ms": blackout_ms, "command_ms": moved["total_ms"]}

    def settled(self, run: dict[str, Any]) -> dict[str, Any]:
        """What only the settled migration knows."""
        if "id" not in run:
            return run
        wait_until(f"{run['id']} is settled", lambda: self.lab.client.migration(run["id"]).settled)
        network = self.lab.client.report(run["id"]).network
        names = ("frames_drained", "frames_replayed", "frames_held", "frames_late", "frames_relayed")
        return run | {name: getattr(network, name) for name in names} | {"learned_at_ms": network.learned_at_ms}

    def _timeouts(self) -> int:
        """Retransmission timeouts in the client node's kernel so far."""
        words = [*self.lab.look().node("client").enter, "cat", "/proc/net/netstat"]
        lines = subprocess.run(words, check=True, capture_output=True, text=True).stdout.splitlines()
        names, values = (line.split() for line in lines if line.startswith("TcpExt:"))
        return int(dict(zip(names[1:], map(int, values[1:]), strict=True))["TCPTimeouts"])

    def _agents_cpu_ms(self) -> float:
        ticks = 0
        for host in HOSTS:
            fields = Path(f"/proc/{self.lab.daemon_pid(host)}/stat").read_text().rsplit(")", 1)[1].split()
            ticks += int(fields[11]) + int(fields[12])
        return ticks * 10.0


def _of_report(report: Report) -> dict[str, Any]:
    assert report.blackout_ms is not None
    assert report.stopped_at_ms is not None
    return {
        "blackout_ms": report.blackout_ms,
        "stopped_at_ms": report.stopped_at_ms,
        "resumed_at_ms": report.stopped_at_ms + report.blackout_ms,
        "total_ms": report.total_ms,
    }


def _warm_up(counted: dict[str, Any], resumed_at_ms: float) -> float | None:
    """From RESUME to the first answer to a datagram that was sent after it."""
    first = next((number for number, at in enumerate(counted["sent_at_ms"]) if at >= resumed_at_ms), None)
    if first is None:
        return None
    came = [at for number, at in counted["arrived"] if number >= first]
    return min(came) - resumed_at_ms if came else None


def _longest_gap(arrived: list[tuple[int, float]]) -> float:
    times = [at for _, at in arrived]
    return max((after - before for before, after in pairwise(times)), default=0.0)


def _other(host: str) -> str:
    return HOSTS[1 - HOSTS.index(host)]


@contextmanager
def bench(queue: LinkQueue) -> Iterator[Bench]:
    """Both VMs answer."""
    with tempfile.TemporaryDirectory(prefix="gw") as name:
        directory = Path(name)
        with Scenario(directory, Settings(link_queue=queue)) as lab:
            lab.create_vm("web", HOSTS[0])
            enter = {host: lab.look().node(host).enter for host in HOSTS}
            hosts = {node.name: node.address(MIGRATION) for node in Topology(lab.settings).hosts}
            bare = BareVm(directory, enter, hosts)
            try:
                lab.wait_ready("web")
                client = lab.look().node("client").enter
                Traffic(BARE_ADDRESS, kinds=("echo",), node=client).close()
                yield Bench(lab, bare)
            finally:
                bare.close()


def measure(runs: Runs, *, wanted: int, until: float) -> None:
    """There are that many runs of each peer and case, or the time is over."""
    for case, queue in CASES.items():
        missing = {peer: wanted - len(runs.of(case=case, peer=peer)) for peer in PROBE_S}
        if max(missing.values()) <= 0 or time.monotonic() > until:
            continue
        with bench(queue) as measured:
            while max(missing.values()) > 0 and time.monotonic() < until:
                _pair(measured, runs, case, missing)


def _pair(measured: Bench, runs: Runs, case: str, missing: dict[str, int]) -> None:
    """One migration of each, godwit's relay gone before its next."""
    done = {}
    for peer in sorted(missing, key=lambda each: missing[each], reverse=True):
        if missing[peer] > 0:
            done[peer] = measured.run(peer)
    for peer, run in done.items():
        runs.add({"case": case, "peer": peer} | measured.settled(run))
        missing[peer] -= 1
        _say(runs.all[-1])


def _say(run: dict[str, Any]) -> None:
    print(
        f"{run['case']} {run['peer']}: stall {run['stall_ms']:.0f} ms, blackout {run['blackout_ms']:.1f} ms, "
        f"lost {run['lost_frames']}, timeouts {run['rto']}",
        file=sys.stderr,
        flush=True,
    )


def summed(runs: Runs) -> dict[str, Any]:
    """The result as programs read it."""
    cases = [_case(case, peer, runs.of(case=case, peer=peer)) for case in CASES for peer in PROBE_S]
    cases = [each for each in cases if each["n"]]
    return {"machine": machine(), "cases": cases, "ratios": _ratios(cases)}


def _case(case: str, peer: str, runs: list[dict[str, Any]]) -> dict[str, Any]:
    spreads = ("stall_ms", "blackout_ms", "warm_up_ms", "udp_gap_ms", "command_ms", "total_ms", "agents_cpu_ms")
    sums = ("lost_frames", "duplicates", "reordered", "resets", "rto", "retransmissions", "spurious", "frames_late")
    over = [each["stall_ms"] - each["blackout_ms"] - each["warm_up_ms"] for each in runs if each["warm_up_ms"]]
    return {
        "case": case,
        "peer": peer,
        "n": len(runs),
        **{name: sum(each.get(name) or 0 for each in runs) for name in sums},
        **{name: spread(each.get(name) for each in runs) for name in spreads},
        "stall_over_ms": spread(over),
        "duplicates_worst": max((each["duplicates"] for each in runs), default=0),
        "runs_that_lost": sum(each["lost_frames"] > 0 for each in runs),
    }


def _ratios(cases: list[dict[str, Any]]) -> dict[str, Any]:
    by = {(each["case"], each["peer"]): each for each in cases}
    return {
        case: {f"{name}_vs_qemu": round(by[case, "godwit"][f"{name}_ms"]["median"] / qemu[f"{name}_ms"]["median"], 3)}
        for case in CASES
        for name in ("stall",)
        if (qemu := by.get((case, "qemu"))) and (case, "godwit") in by
    }


def shown(result: dict[str, Any]) -> str:
    """The result as people read it."""
    heads: tuple[str, ...] = (
        "link queue",
        "peer",
        "n",
        "datagrams lost",
        "twice",
        "out of order",
        "TCP timeouts",
        "resets",
    )
    heads += ("stall ms: median, p90, max", "blackout ms", "stall beyond blackout and warm-up ms")
    return table(heads, [_row(each) for each in result["cases"]])


def _row(case: dict[str, Any]) -> tuple[object, ...]:
    counts = ("case", "peer", "n", "lost_frames", "duplicates", "reordered", "rto", "resets")
    spreads = ("stall_ms", "blackout_ms", "stall_over_ms")
    return (
        *(case[name] for name in counts),
        *(", ".join(f"{value:.0f}" for value in case[name].values()) for name in spreads),
    )


def main() -> None:
    """`python -m benchmarks.network` measures, prints the table and leaves the figures in build/."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=50, help="migrations of each peer, in each case")
    parser.add_argument("--minutes", type=float, default=600.0, help="stop after that time, to be continued")
    parser.add_argument("--fresh", action="store_true", help="forget what was measured before")
    asked = parser.parse_args()
    if asked.fresh:
        RUNS.unlink(missing_ok=True)
    runs = Runs(RUNS)
    measure(runs, wanted=asked.runs, until=time.monotonic() + asked.minutes * 60)
    result = summed(runs)
    write(RESULT, result)
    print(shown(result))


if __name__ == "__main__":
    main()

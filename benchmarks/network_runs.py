"""One migration of one VM, and what its clients saw of it: how each case of `benchmarks.network` is run."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

from benchmarks.bare import ADDRESS as BARE_ADDRESS
from benchmarks.bare import BareVm
from godwit.core.errors import GodwitError
from godwit.core.report import Report
from godwit.lab.image import default_cache, ensure_image
from godwit.lab.scenario import Running, Scenario, wait_until
from godwit.lab.settings import LinkQueue, Settings
from godwit.lab.topology import MIGRATION, Topology
from godwit.lab.traffic import Traffic
from godwit.lab.traffic_result import ClientSummary
from godwit.lab.traffic_ssh import SSH_PORT, ssh_argv

Run = dict[str, Any]

HOSTS = ("host-a", "host-b")
PEERS = ("godwit", "qemu")
RATE = 2_000
"""Datagrams a second, there and back."""
FLOOD, FLOOD_LEAST = 10_000, 1_000
"""Datagrams a second towards the VM; halved until the guest keeps up while nothing moves."""
BULK_MBIT = 20
"""In each direction: what an emulated CPU serves beside the rest."""
BEFORE_S, AFTER_S = 1.0, 2.0
LONGEST_S = 30.0
STANDING_S = 5.0
TICK_S = 0.02
FULL_SPEED = 0.9
"""Of what came per tick before: the throughput is back."""
SETTLED_MS = 300.0
"""For so long, in the mean."""


class Ticker:
    """Marks the time for clients in steady steps, so that their throughput is known for each."""

    def __init__(self, traffic: Traffic) -> None:
        self._traffic = traffic
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._tick, daemon=True)
        self._thread.start()

    def end(self) -> None:
        """No more marks are made."""
        self._over.set()
        self._thread.join()

    def _tick(self) -> None:
        with suppress(GodwitError, ValueError):  # the clients have ended first: whoever wants their figures is told
            while not self._over.wait(TICK_S):
                self._traffic.mark("tick")


@dataclass
class Bench:
    """A lab with a VM of each kind."""

    lab: Scenario
    bare: BareVm
    flood: int = 0
    """The rate that both guests have been seen to keep up with."""
    peers: dict[str, Callable[[], Run]] = field(init=False)

    def __post_init__(self) -> None:
        self.peers = {"godwit": self._godwit, "qemu": self._bare}

    def probe(self, peer: str) -> Run:
        """A TCP client that asks and waits, and datagrams there and back, while the peer's VM moves once."""
        timeouts = self._timeouts()
        with self._traffic(peer, "echo") as traffic:
            datagrams = self._datagrams(peer, "--times", "--rate", str(RATE))
            time.sleep(BEFORE_S)
            traffic.mark("migration")
            moved = self.peers[peer]()
            time.sleep(AFTER_S)
            counted = _told(datagrams)
            seen = traffic.stop()
        echo, window = seen.clients[0], seen.clients[0].windows[-1]
        return moved | {
            **_counts(counted),
            "udp_gap_ms": _longest_gap(counted["arrived"]),
            "warm_up_ms": _warm_up(counted, moved["resumed_at_ms"]),
            **_waits(seen.samples[0].points, moved["stopped_at_ms"], since_ms=window.started_at_ms),
            "retransmissions": window.retransmissions,
            "spurious": window.spurious_retransmissions,
            "congestion_control": echo.congestion_control,
            "resets": int(not echo.survived),
            "rto": self._timeouts() - timeouts,
        }

    def bulk(self, peer: str) -> Run:
        """A download and an upload at a steady rate; both ends' kernels tell what they sent again."""
        timeouts, guest = self._timeouts(), self._guest_counters(peer)
        options = (f"--rate-mbit={BULK_MBIT}",)
        with self._traffic(peer, "bulk,upload", *options) as traffic:
            ticker = Ticker(traffic)
            time.sleep(2 * BEFORE_S)
            moved = self.peers[peer]()
            time.sleep(AFTER_S)
            ticker.end()
            clients = traffic.stop().clients
        guest = {name: value - guest[name] for name, value in self._guest_counters(peer).items()}
        upload = next(each for each in clients if each.kind == "upload")
        return moved | {
            "stall_ms": max(each.stall_ms for each in clients),
            "retransmissions": upload.retransmissions + guest["RetransSegs"],
            "spurious": upload.spurious_retransmissions + guest["TCPDSACKRecv"],
            "rto": self._timeouts() - timeouts + guest["TCPTimeouts"],
            "congestion_control": upload.congestion_control,
            "resets": sum(not each.survived for each in clients),
            "full_speed_ms": max(_full_speed_ms(each, moved) for each in clients),
        }

    def flooded(self, peer: str) -> Run:
        """Datagrams towards the VM, counted there; and as many again, for as long, while nothing moves."""
        self.flood = self.flood or self._rate_that_is_kept_up_with()
        datagrams = self._datagrams(peer, "--recorded", "--rate", str(self.flood))
        begun = time.monotonic()
        time.sleep(BEFORE_S)
        moved = self.peers[peer]()
        time.sleep(AFTER_S)
        seconds = time.monotonic() - begun
        counted = _told(datagrams)
        control = self._control(peer, self.flood, seconds)
        return moved | _counts(counted) | {"rate": self.flood, "control_lost_frames": control["lost"]}

    def standing(self, peer: str) -> Run:
        """What the relay carries and what that costs the agents, while the switch learns nothing of the new place."""
        self.flood = self.flood or self._rate_that_is_kept_up_with()
        fault = f"announcements-blocked:{_other(self._host())}"
        self.lab.fault(fault, on=True)
        try:
            datagrams = self._datagrams(peer, "--recorded", "--rate", str(self.flood))
            here = self._host()
            moved = self.peers[peer]()
            time.sleep(BEFORE_S)
            cpu_ms, frames, begun = self._agents_cpu_ms(), self._relayed(here), time.monotonic()
            time.sleep(STANDING_S)
            cpu_ms, frames = self._agents_cpu_ms() - cpu_ms, self._relayed(here) - frames
            seconds = time.monotonic() - begun
            counted = _told(datagrams)
        finally:
            self.lab.fault(fault, on=False)
        told = {"relayed_per_s": frames / seconds, "agents_cpu_percent": cpu_ms / seconds / 10, "rate": self.flood}
        return moved | _counts(counted) | told

    def settled(self, run: Run) -> Run:
        """What only the settled migration knows."""
        if "id" not in run:
            return run
        wait_until(f"{run['id']} is settled", lambda: self.lab.client.migration(run["id"]).settled)
        network = self.lab.client.report(run["id"]).network
        names = ("frames_drained", "frames_replayed", "frames_held", "frames_late", "frames_relayed")
        return run | {name: getattr(network, name) for name in names} | {"learned_at_ms": network.learned_at_ms}

    def _traffic(self, peer: str, kinds: str, *options: str) -> Traffic:
        return Traffic(self._address(peer), kinds=kinds.split(","), node=self._client, options=options)

    def _datagrams(self, peer: str, *words: str) -> Running:
        argv = [*self._client, sys.executable, "-m", "godwit.lab.udp_probe", self._address(peer), *words]
        return Running([*argv, "--until-told", "--seconds", str(LONGEST_S)])

    def _control(self, peer: str, rate: int, seconds: float) -> dict[str, Any]:
        words = [self._address(peer), "--recorded", "--rate", str(rate), "--seconds", f"{seconds:.1f}"]
        return _ended(Running([*self._client, sys.executable, "-m", "godwit.lab.udp_probe", *words]))

    def _rate_that_is_kept_up_with(self) -> int:
        rate = FLOOD
        while rate > FLOOD_LEAST and any(self._control(peer, rate, 4.0)["lost"] for peer in PEERS):
            rate //= 2
        return rate

    @property
    def _client(self) -> Sequence[str]:
        return self.lab.look().node("client").enter

    def _address(self, peer: str) -> str:
        nic = self.lab.client.vm("web").nics[0]
        assert nic.ip is not None
        return str(nic.ip.ip) if peer == "godwit" else BARE_ADDRESS

    def _host(self) -> str:
        return str(self.lab.client.vm("web").host)

    def _godwit(self) -> Run:
        cpu_ms, begun = self._agents_cpu_ms(), time.monotonic()
        report = self.lab.migrate("web", _other(self._host()))
        command_ms = (time.monotonic() - begun) * 1000
        cpu_ms = self._agents_cpu_ms() - cpu_ms
        return _of_report(report) | {"command_ms": command_ms, "agents_cpu_ms": cpu_ms, "id": report.id}

    def _bare(self) -> Run:
        moved = self.bare.migrate(_other(self.bare.host))
        blackout_ms = moved["resumed_at_ms"] - moved["stopped_at_ms"]
        return moved | {"blackout_ms": blackout_ms, "command_ms": moved["total_ms"]}

    def _relayed(self, host: str) -> int:
        """Frames that went into the tunnel there so far."""
        words = [*self.lab.look().node(host).enter, "ip", "-s", "-j", "link"]
        links = json.loads(subprocess.run(words, check=True, capture_output=True, text=True).stdout)
        return sum(each["stats64"]["tx"]["packets"] for each in links if each["ifname"].startswith("gv-"))

    def _timeouts(self) -> int:
        """Retransmission timeouts in the client node's kernel so far."""
        words = [*self._client, "cat", "/proc/net/netstat"]
        return _counters(subprocess.run(words, check=True, capture_output=True, text=True).stdout)["TCPTimeouts"]

    def _guest_counters(self, peer: str) -> dict[str, int]:
        """Of the guest's kernel so far: segments sent again, those of them that had arrived, timeouts."""
        key = ensure_image("base", cache=default_cache(), progress=lambda _: None) / "id_ed25519"
        key.chmod(0o600)
        words = [*self._client, *ssh_argv(self._address(peer), SSH_PORT, key)[:-1]]
        words.append("cat /proc/net/snmp /proc/net/netstat")
        said = subprocess.run(words, check=True, capture_output=True, text=True, timeout=LONGEST_S).stdout
        return {name: _counters(said)[name] for name in ("RetransSegs", "TCPDSACKRecv", "TCPTimeouts")}

    def _agents_cpu_ms(self) -> float:
        ticks = 0
        for host in HOSTS:
            fields = Path(f"/proc/{self.lab.daemon_pid(host)}/stat").read_text().rsplit(")", 1)[1].split()
            ticks += int(fields[11]) + int(fields[12])
        return ticks * 10.0


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


def _other(host: str) -> str:
    return HOSTS[1 - HOSTS.index(host)]


def _of_report(report: Report) -> Run:
    assert report.blackout_ms is not None
    assert report.stopped_at_ms is not None
    return {
        "blackout_ms": report.blackout_ms,
        "stopped_at_ms": report.stopped_at_ms,
        "resumed_at_ms": report.stopped_at_ms + report.blackout_ms,
        "total_ms": report.total_ms,
    }


def _told(datagrams: Running) -> dict[str, Any]:
    """It was told to stop; what it counted."""
    assert datagrams.process.stdin is not None
    datagrams.process.stdin.write(b"\n")
    return _ended(datagrams)


def _ended(datagrams: Running) -> dict[str, Any]:
    done = datagrams.end()
    if done.status:
        raise RuntimeError(f"the datagrams' sender failed: {done.err.strip().splitlines()[-1:]}")
    counted: dict[str, Any] = json.loads(done.out)
    return counted


def _waits(points: Sequence[tuple[float, float]], stopped_at_ms: float, *, since_ms: float) -> Run:
    """The longest wait for an answer that came after STOP, and the longest that was over before."""
    some = [each for each in points if each[0] >= since_ms]
    return {
        "stall_ms": max((waited for at_ms, waited in some if at_ms > stopped_at_ms), default=None),
        "hold_ms": max((waited for at_ms, waited in some if at_ms <= stopped_at_ms), default=None),
    }


def _counts(counted: dict[str, Any]) -> Run:
    return {"sent": counted["sent"], "lost_frames": counted["lost"]} | {
        name: counted[name] for name in ("duplicates", "reordered")
    }


def _counters(said: str) -> dict[str, int]:
    """Of /proc/net/snmp and /proc/net/netstat: two lines for each protocol, names and values."""
    lines = [line.split() for line in said.splitlines()]
    pairs = [(names, values) for names, values in pairwise(lines) if names[0] == values[0]]
    return {name: int(value) for names, values in pairs for name, value in zip(names[1:], values[1:], strict=True)}


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


def _full_speed_ms(client: ClientSummary, moved: Run) -> float:
    """From RESUME until the client gets as much per tick again as before; the time to the end if it never does."""
    before = [each for each in client.windows if each.ended_at_ms < moved["stopped_at_ms"]]
    after = [each for each in client.windows if each.started_at_ms >= moved["resumed_at_ms"]]
    usual = sum(each.bytes for each in before) / sum(each.ended_at_ms - each.started_at_ms for each in before)
    for number, window in enumerate(after):
        following = [each for each in after[number:] if each.started_at_ms < window.started_at_ms + SETTLED_MS]
        took_ms = following[-1].ended_at_ms - window.started_at_ms
        if sum(each.bytes for each in following) >= FULL_SPEED * usual * took_ms:
            return window.started_at_ms - float(moved["resumed_at_ms"])
    return after[-1].ended_at_ms - float(moved["resumed_at_ms"])

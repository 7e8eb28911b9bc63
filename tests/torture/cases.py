"""One experiment: a migration is stopped at a point, something is struck, all is mended, and all is looked at."""

from __future__ import annotations

import json
import os
import random
import re
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from pathlib import Path

from tests.torture.guest import Writer, disk_path, lost_records, start_beacon
from tests.torture.watch import Beacon, EventLogs, doubled, most_at_once

from godwit.core.errors import Failed, GodwitError, NotFound, TimedOut
from godwit.core.migration import Migration, MigrationRequest
from godwit.core.model import VmState
from godwit.core.phase import Phase
from godwit.host.process import start_ticks
from godwit.lab.image import default_cache, ensure_image
from godwit.lab.scenario import Scenario, wait_until

VM = "web"
DAEMON = Path(__file__).with_name("daemon.py")
REACH_S = 60.0
CUT_S = 8.0
"""Longer than a hand-over's watchdog waits beyond the longest blackout."""
ALIVE_S = 20.0
BLACKOUT_MS = 2_000
"""More than a machine with much else to do may want."""


class Goes(StrEnum):
    """What a migration takes elsewhere."""

    memory = "memory"
    """Its VM's disk stays, where both hosts see it."""
    both = "both"
    """The disk goes with it."""
    disk = "disk"
    """The VM runs on where it is."""


@dataclass(frozen=True)
class Case:
    """What is struck, and when: which side's daemon has reached which point of its own."""

    victim: str
    side: str
    point: str

    @property
    def at(self) -> str:
        return f"{self.side}: {self.point}"


@dataclass
class Outcome:
    """As build/torture.json has it; `problems` is empty when all was as it must be."""

    victim: str
    at: str
    outcome: str
    running_copies_max: int
    running_copies_end: int
    connections_kept: bool
    records_lost: int
    problems: list[str] = field(default_factory=list)
    seconds: float = 0.0

    def told(self) -> dict[str, object]:
        return asdict(self)


class Rig:
    """A lab whose daemons have fault points, a VM in it with a disk, its programs, and everybody who watches."""

    def __init__(self, lab: Scenario, directory: Path, goes: Goes) -> None:
        self.lab = lab
        self.directory = directory
        self.goes = goes
        self.writer: Writer | None = None
        self._begin_vm()
        nic = lab.client.vm(VM).nics[0]
        self.beacon = Beacon(lab.look().node("lan-switch").enter, nic.mac, lab.settings.host_names)
        self.logs = EventLogs(lab, VM)
        self._written = 1
        self.begin_programs()

    def close(self) -> None:
        self.logs.close()
        self.beacon.close()
        if self.writer:
            self.writer.close()

    def _begin_vm(self) -> None:
        size = ("--memory", "256MiB", "--cpus", "1", "--network", "lan", "--disk", f"data:128MiB:{self.begins_in}")
        self.lab.demand("vm", "create", VM, "--image", "base", *size, "--host", "host-a")

    def begin_programs(self) -> None:
        """In the guest, as soon as its SSH answers."""
        nic = self.lab.client.vm(VM).nics[0]
        assert nic.ip is not None
        client = self.lab.look().node("client")
        key = ensure_image("base", cache=default_cache(), progress=lambda _: None) / "id_ed25519"
        self.lab.wait_ready(VM)
        address = str(nic.ip.ip)
        start_beacon(client.enter, address, key, to=client.addresses["lan"])
        if self.writer:
            self.writer.close()
        self._written = self.writer.last + 1 if self.writer else 1
        self.writer = Writer(client.enter, address, key, first=self._written)
        if not self.writer.is_alive(ALIVE_S):
            raise Failed("the guest does not write")

    @property
    def home(self) -> str:
        host = self.lab.client.vm(VM).host
        assert host is not None
        return host

    def other(self, host: str) -> str:
        return next(each for each in self.lab.settings.host_names if each != host)

    @property
    def begins_in(self) -> str:
        """The datastore: one that both hosts see, or one that each has for itself."""
        return "local" if self.goes is Goes.both else "default"

    def migrate(self) -> Migration:
        words: dict[str, object] = {"vm": VM, "max_blackout_ms": BLACKOUT_MS}
        if self.goes is not Goes.disk:
            words["destination"] = self.other(self.home)
        if self.goes is Goes.both:
            words["datastore"] = "local"
        if self.goes is Goes.disk:
            here = self.lab.client.vm(VM).disks[0].datastore
            words["datastore"] = {"local": "default", "default": "local"}[here]
        return self.lab.client.migrate(MigrationRequest.model_validate(words))

    def files(self) -> list[str]:
        """Of disks, wherever they lie."""
        root = self.lab.lab.data_dir
        return sorted(str(path) for folder in ("*/local", "datastore") for path in root.glob(f"{folder}/{VM}/*"))

    def wait_ended(self, id: str) -> Migration:
        wait_until(f"migration {id} has ended", lambda: self.lab.client.migration(id).is_ended)
        return self.lab.client.migration(id)

    def record(self) -> list[tuple[str, str]]:
        """(side, point) of every place that a migration reaches when nothing is struck, each once, in order."""
        flag, log = self.directory / "recording", self.directory / "points.jsonl"
        sides = {self.home: "source", self.other(self.home): "destination", "manager": "manager"}
        flag.touch()
        migration = self.wait_ended(self.migrate().id)
        flag.unlink()
        if migration.phase is not Phase.done:
            raise Failed(f"an undisturbed migration ended {migration.phase}: {migration.error}")
        lines = [json.loads(line) for line in log.read_text().splitlines()]
        log.unlink()
        return list(dict.fromkeys((sides[line["node"]], line["point"]) for line in lines))


VICTIMS = (
    "manager",
    "source-agent",
    "destination-agent",
    "both-agents",
    "source-qemu",
    "destination-qemu",
    "source-keeper",
    "destination-keeper",
    "migration-link",
    "agent-link",
    "control-link",
)
OF_ONE_HOST = frozenset({"manager", "source-agent", "source-qemu", "source-keeper", "control-link"})
ABOUT_DISKS = re.compile(r"(place|serve|mirror|finish|keep|discard|remove)_disk|end_mirror|block|nbd|job|continue")
"""Points that only a move with disks has."""
LINKS = {"migration-link": "migration-link-down", "agent-link": "agent-link-down", "control-link": "control-link-down"}


def matrix(points: Sequence[tuple[str, str]], goes: Goes = Goes.memory) -> list[Case]:
    """Every victim at every point; of a disk that goes, at those that only its going has."""
    if goes is not Goes.memory:
        points = [each for each in points if ABOUT_DISKS.search(each[1])]
    victims = [each for each in VICTIMS if goes is not Goes.disk or each in OF_ONE_HOST]
    return [Case(victim, side, point) for side, point in points for victim in victims]


def drawn(cases: Sequence[Case], number: int, seed: int) -> list[Case]:
    """So many of them, the same for the same seed."""
    return random.Random(seed).sample(list(cases), min(number, len(cases)))


@contextmanager
def armed(directory: Path, node: str, point: str) -> Iterator[Callable[[], socket.socket | None]]:
    """Inside, `wait` gives the line on which the daemon at that point waits; none: it does not come there."""
    path = directory / "strike.sock"
    path.unlink(missing_ok=True)
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen(1)
        (directory / "armed.new").write_text(json.dumps({"node": node, "point": point}))
        (directory / "armed.new").rename(directory / "armed")

        def wait() -> socket.socket | None:
            listener.settimeout(REACH_S)
            with suppress(TimeoutError):
                return listener.accept()[0]
            return None

        try:
            yield wait
        finally:
            (directory / "armed").unlink(missing_ok=True)
            path.unlink(missing_ok=True)


def run(rig: Rig, case: Case) -> Outcome:
    """The case has been tried, everything is mended, and the VM runs on with its programs."""
    begun_s, since = time.time(), len(rig.beacon.beats)
    source = rig.home
    destination = rig.other(source)
    node = {"source": source, "destination": destination, "manager": "manager"}[case.side]
    writer = rig.writer
    assert writer is not None
    before = len(rig.lab.client.migrations())
    with armed(rig.directory, node, case.point) as wait:
        asking = threading.Thread(target=_ask, args=(rig,))
        asking.start()  # the manager may be stopped before it answers
        line = wait()
        if line is not None:
            strike(rig, case.victim, source, destination, line)
        asking.join()
    ended = _ended(rig, before)
    outcome = _judged(rig, case, ended, source=source, since=since, begun_s=begun_s)
    if line is None:
        if ended is None or ended.phase is not Phase.done:
            outcome.problems.append(f"not disturbed, it ended {outcome.outcome}: {ended and ended.error}")
        outcome.outcome = f"not reached, {outcome.outcome}"
    _check_records(rig, outcome)
    _check_leftovers(rig, outcome)
    rig.lab.wait_answering()
    outcome.seconds = round(time.time() - begun_s, 1)
    return outcome


def strike(rig: Rig, victim: str, source: str, destination: str, line: socket.socket) -> None:
    """The victim is gone, or cut off for a while; whoever waits at the point goes on."""
    side, _, what = victim.partition("-")
    host = destination if side == "destination" else source
    with line:
        if victim in LINKS:
            fault = f"{LINKS[victim]}:{host}"
            rig.lab.fault(fault, on=True)
            _go_on(line)
            time.sleep(CUT_S)
            rig.lab.fault(fault, on=False)
            return
        for pid in _pids(rig, victim, what, (source, destination), host):
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
            wait_until(f"{victim} is dead", lambda pid=pid: start_ticks(pid) is None)  # type: ignore[misc]
        _go_on(line)


def _go_on(line: socket.socket) -> None:
    with suppress(OSError):
        line.sendall(b"\n")


def _pids(rig: Rig, victim: str, what: str, hosts: tuple[str, str], host: str) -> list[int]:
    """None, where it does not exist yet, or any more."""
    looked = rig.lab.look()
    if victim == "manager":
        return [pid for pid in (looked.node("manager").manager_pid,) if pid]
    if victim == "both-agents":
        return [pid for each in hosts if (pid := looked.node(each).agent_pid)]
    there = looked.node(host)
    if what == "agent":
        return [there.agent_pid] if there.agent_pid else []
    return [each.pid for each in (there.qemus if what == "qemu" else there.keepers) if each.vm == VM]


def _ask(rig: Rig) -> None:
    with suppress(GodwitError):  # the answer may get lost; what matters is what became of it
        rig.migrate()


def _ended(rig: Rig, before: int) -> Migration | None:
    """The newest migration, if there is one more than before; none: it did not end in time, or was never stored."""
    try:
        wait_until("the manager listens", rig.lab.is_listened_to)
        wait_until("the migration is stored", lambda: len(rig.lab.client.migrations()) > before)
        return rig.wait_ended(rig.lab.client.migrations()[-1].id)
    except TimedOut:
        return None


def _judged(rig: Rig, case: Case, ended: Migration | None, *, source: str, since: int, begun_s: float) -> Outcome:
    """What became of it, by everything that can be known."""
    problems: list[str] = []
    writer = rig.writer
    assert writer is not None
    is_alive = writer.is_alive(ALIVE_S)
    if ended is None:
        problems.append(f"the migration did not end: {_last_words(rig)}")
    copies_end = len(rig.beacon.ports()) if is_alive else 0
    has_run_there = any(host != source and end >= begun_s for host, _, end in rig.logs.intervals())
    may_die = case.victim == "source-qemu" or (case.victim == "destination-qemu" and has_run_there)
    if not is_alive and not may_die:
        problems.append("the VM's connection did not live on")
    if is_alive and copies_end != 1:
        problems.append(f"{copies_end} copies are heard in the end")
    if double := doubled(rig.beacon.beats[since:]):
        problems.append(f"two copies sent: {double[:3]}")
    intervals = [each for each in rig.logs.intervals() if each[2] >= begun_s]
    most = most_at_once(intervals)
    if most > 1:
        problems.append(f"two copies ran: {intervals}")
    told = Outcome(
        victim=case.victim,
        at=case.at,
        outcome=str(ended.phase) if ended else "not ended",
        running_copies_max=2 if double else max(most, 1),
        running_copies_end=copies_end,
        connections_kept=is_alive,
        records_lost=0,
        problems=problems,
    )
    if not is_alive:
        _revive(rig, told)
    return told


def _revive(rig: Rig, told: Outcome) -> None:
    """The VM crashed with its QEMU: the manager knows, and starts it again."""
    try:
        wait_until("the crash is known", lambda: rig.lab.client.vm(VM).state is VmState.crashed)
        told.outcome += ", crashed"
        _check_records(rig, told)
        rig.lab.client.start_vm(VM)
        rig.begin_programs()
        told.running_copies_end = len(rig.beacon.ports())
    except GodwitError as error:
        told.problems.append(f"the VM could not be started again: {error.message}")


def _check_records(rig: Rig, told: Outcome) -> None:
    writer = rig.writer
    assert writer is not None
    if writer.last >= writer.first:
        told.records_lost += lost_records(disk_path(rig.lab, VM), writer.first, writer.last)
    if told.records_lost:
        told.problems.append(f"{told.records_lost} records are lost")


def _check_leftovers(rig: Rig, told: Outcome) -> None:
    """Processes, directories, memory, and files of disks; tunnels end later by themselves."""
    left: dict[str, list[str]] = {}

    def clean() -> bool:
        left["files"] = rig.files()[1:]
        for host in rig.lab.settings.host_names:
            left[host] = [each for each in rig.lab.leftovers(host) if "network links" not in each]
        return not any(left.values())

    try:
        wait_until("nothing is left over", clean)
    except (TimedOut, NotFound):
        told.problems.append(f"left over: {left}")


def _last_words(rig: Rig) -> str:
    with suppress(GodwitError):
        last = rig.lab.client.migrations()[-1]
        return f"{last.phase}: {last.error}"
    return "the manager does not answer"

"""Records what a move looks like on the wire, healthy and under each fault: `python -m godwit.lab.recording DIR`.

For each case the captures of both hosts' uplinks, of the client, and of all ports of the LAN switch at once, cut
behind the headers, and in `cases.json` what a diagnosis must say of them. Some cases are there to fit rules to, the
others, which a seed draws, to judge rules that were made before they were recorded.
"""

from __future__ import annotations

import gzip
import json
import random
import shlex
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

from godwit.core.report import Report
from godwit.lab.open_vswitch import ABSENT
from godwit.lab.scenario import Running, Scenario
from godwit.lab.settings import Settings, SwitchKind

SNAPLEN = 96
TRIES, HEALTHY_MS = 3, 400.0
MAX_BLACKOUT = "5s"
"""A busy machine is no reason not to record."""
BEFORE_S, AFTER_S = 1.5, 7.0
PLACES = (("client", "lan0"), ("host-a", "lan0"), ("host-b", "lan0"), ("lan-switch", "any"))
PLACES_OF = (("client", "host-a", "host-b"), ("lan-switch",), ("host-a", "host-b"))
"""What a person may have at hand."""
VISIBLE_AT = {
    "teaming-mismatch": (("lan-switch",), ("client", "lan-switch")),  # which sees the second cable as well
    "mtu-mismatch": (("client", "host-a", "host-b"), ("lan-switch",), ("client",)),  # before the frame is lost
}
"""Other places for faults that do not show everywhere."""
EXPECTED = {
    "announcements-blocked": "announcement-filtered",
    "vlan-mismatch": "segment-split",
    "port-security": "port-blocked",
    "teaming-mismatch": "teaming-mismatch",
    "mtu-mismatch": "large-frames-lost",
    "stale-mac": "stale-switch-entry",
}
"""By fault of the lab: the finding."""
AT_SOURCE = frozenset({"stale-mac"})
LARGE_BYTES = 1440
"""Of a request that does not pass where the MTU is smaller."""
SEED, EACH, HEALTHY = 2026, 4, 24
"""Of the cases that judge: so many of each fault, and so many healthy ones."""

UNTIL_TOLD = "{command} >{file} & cat; kill $!; wait"
"""Until its input ends: signals do not get into the lab's own process tree."""

TALK = """
import json, random, selectors, socket, sys, time
address, every_s, size, many = sys.argv[1], float(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4])
lines = []
while len(lines) < many or len({line.getsockname()[1] & 2 for line in lines}) < 2:  # both cables of a team
    lines.append(socket.create_connection((address, 7), 5))
many = len(lines)
for line in lines:
    line.setblocking(False)
print("talking", flush=True)
wait = selectors.DefaultSelector()
wait.register(sys.stdin, selectors.EVENT_READ)
for number, line in enumerate(lines):
    wait.register(line, selectors.EVENT_READ, number)
due, probe, heard = [0.0] * many, 0.0, [0.0] * many
while True:
    now = time.monotonic()
    for number, line in enumerate(lines):
        if now >= due[number]:
            due[number] = now + every_s
            try:
                line.send(bytes(size if number == 0 else 20))
            except OSError:
                pass
    if now >= probe:  # the chatter of every LAN: somebody looks for somebody
        probe = now + 0.5
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(b"x", ("10.90.0.%d" % random.randint(20, 90), 9))
    for key, _ in wait.select(0.02):
        if key.fileobj is sys.stdin:
            print(json.dumps([now - each for each in heard]))
            sys.exit()
        try:
            heard[key.data] = now if key.fileobj.recv(65536) else 0.0
        except OSError:
            pass
"""
"""At its end it tells how long ago each connection was last answered."""


@dataclass(frozen=True)
class Case:
    """One move."""

    name: str
    fault: str = ""
    every_s: float = 0.2
    size: int = 30
    many: int = 2
    places: tuple[str, ...] = ("client", "host-a", "host-b")
    judges: bool = False
    """Not to be looked at while rules are made."""
    switch: SwitchKind = SwitchKind.bridge
    load: bool = False
    """Other clients keep the VM busy, and are not captured."""

    @property
    def finding(self) -> str | None:
        """What a diagnosis must say, and nothing else; none: nothing is wrong."""
        return EXPECTED.get(self.fault)


def cases() -> Iterator[Case]:
    """Four of each fault and twenty healthy ones, of different traffic."""
    manners = ((0.2, 30, 2), (0.3, 30, 2), (0.4, 400, 4), (0.3, 1200, 3))
    for fault in EXPECTED:
        for number, (every_s, size, many) in enumerate(manners):
            size = size if fault != "mtu-mismatch" else LARGE_BYTES
            places = VISIBLE_AT.get(fault, PLACES_OF)
            yield Case(f"{fault}-{number + 1}", fault, every_s, size, many, places[number % len(places)])
    for number in range(20):
        every_s, size, many = manners[number % 4]
        yield Case(f"healthy-{number + 1}", "", every_s * (1 + number // 4 / 4), size, many, PLACES_OF[number % 3])


def judges() -> Iterator[Case]:
    """Of each fault and healthy ones, half of them under load, and some with another switch; drawn by a seed."""
    draw = random.Random(SEED)
    faults = [fault for fault in EXPECTED for _ in range(EACH)] + [""] * HEALTHY
    for number, fault in enumerate(faults):
        is_other = number % EACH >= EACH // 2 and fault not in ABSENT
        yield Case(
            f"judge-{fault or 'healthy'}-{number + 1}",
            fault,
            every_s=round(draw.uniform(0.15, 0.6), 2),
            size=LARGE_BYTES if fault == "mtu-mismatch" else draw.randint(10, 1300),
            many=draw.randint(1, 5),
            places=draw.choice(VISIBLE_AT.get(fault, PLACES_OF)),
            judges=True,
            switch=SwitchKind.ovs if is_other else SwitchKind.bridge,
            load=number % 2 == 1,
        )


@dataclass(frozen=True)
class Recorded:
    """One move that was recorded."""

    files: tuple[str, ...]
    report: Report
    unanswered_s: tuple[float, ...]
    """By connection: for how long, when it was over and the fault still on."""


def record(lab: Scenario, case: Case, out: Path) -> dict[str, object]:
    """The captures of one move lie there; what is expected of them.

    A machine with much else to do can hold a VM up for a second, which is no healthy move: it is recorded again.
    """
    for _ in range(TRIES):
        recorded = moved(lab, case, out)
        lab.mend()
        if case.finding or (recorded.report.blackout_ms or 0.0) < HEALTHY_MS:
            break
        _settled(lab)
    return asdict(case) | {"finding": case.finding, "files": [_packed(out / each) for each in recorded.files]}


def _packed(file: Path) -> str:
    """The name of the file that has it, smaller."""
    smaller = file.with_name(f"{file.name}.gz")
    smaller.write_bytes(gzip.compress(file.read_bytes(), mtime=0))
    file.unlink()
    return smaller.name


def moved(lab: Scenario, case: Case, out: Path) -> Recorded:
    """The VM has moved to the other host under that fault, which is still on."""
    source = lab.where_it_runs("web")[0]
    destination = next(host for host in lab.settings.host_names if host != source)
    address = str(lab.client.vm("web").nics[0].ip.ip)  # type: ignore[union-attr]
    place = source if case.fault in AT_SOURCE else destination
    with ExitStack() as stack:
        if case.load:
            stack.enter_context(lab.traffic("web", kinds=("redis", "bulk"), options=("--warm-up-s=0",)))
        files = stack.enter_context(_captured(lab, address, out, case))
        with _talking(lab, address, case) as ages_s:
            if case.fault:
                lab.fault(f"{case.fault}:{place}", on=True)
            time.sleep(BEFORE_S)
            report = lab.migrate("web", destination, "--force", "--max-blackout", MAX_BLACKOUT)
            time.sleep(AFTER_S)
    return Recorded(tuple(files), report, tuple(ages_s))


@contextmanager
def _captured(lab: Scenario, address: str, out: Path, case: Case) -> Iterator[list[str]]:
    which = f"arp or rarp or (ip host {address} and (tcp port 7 or udp))"
    files, running = [], []
    for node, interface in PLACES:
        if node not in case.places:
            continue
        file = f"{case.name}.{node}.pcap"
        files.append(file)
        words = ["tcpdump", "-U", "-i", interface, "-s", str(SNAPLEN), "-w", "-", which]
        script = UNTIL_TOLD.format(command=shlex.join(words), file=shlex.quote(str(out / file)))
        running.append(Running([*lab.look().node(node).enter, "sh", "-c", script]))
    time.sleep(0.5)
    try:
        yield files
    finally:
        for each in running:
            each.end()  # closes its input


@contextmanager
def _talking(lab: Scenario, address: str, case: Case) -> Iterator[list[float]]:
    """Filled at the end: how long ago each connection was answered."""
    words = (sys.executable, "-c", TALK, address, str(case.every_s), str(case.size), str(case.many))
    talking = Running([*lab.look().node("client").enter, *words])
    assert talking.process.stdout is not None
    talking.process.stdout.readline()
    ages_s: list[float] = []
    try:
        yield ages_s
    finally:
        ages_s += json.loads(talking.end().out or "[]")


def _settled(lab: Scenario) -> None:
    """The VM answers and nothing of the last move stands."""
    lab.wait_tidy()
    lab.wait_ready("web")


def main(argv: list[str]) -> int:
    """Records every case whose name begins with one of the words after the directory, or all."""
    out = Path(argv[0]).resolve()
    out.mkdir(parents=True, exist_ok=True)
    wanted = [each for each in (*cases(), *judges()) if each.name.startswith(tuple(argv[1:] or [""]))]
    for switch in SwitchKind:
        if some := [each for each in wanted if each.switch is switch]:
            _record_all(some, Settings(switch=switch), out)
    return 0


def _record_all(wanted: list[Case], settings: Settings, out: Path) -> None:
    file = out / "cases.json"
    told = json.loads(file.read_text()) if file.exists() else {}
    with tempfile.TemporaryDirectory(prefix="gw") as directory, Scenario(Path(directory), settings) as lab:
        lab.create_vm("web", "host-a")
        lab.wait_ready("web")
        for case in wanted:
            print(case.name, flush=True)
            told[case.name] = record(lab, case, out)
            file.write_text(json.dumps(told, indent=1, sort_keys=True) + "\n")
            _settled(lab)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

"""Records what a move looks like on the wire, healthy and under each fault: `python -m godwit.lab.recording DIR`.

For each case the captures of both hosts' uplinks, of the client, and of all ports of the LAN switch at once, cut
behind the headers, and in `cases.json` what a diagnosis must say of them.
"""

from __future__ import annotations

import json
import shlex
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

from godwit.lab.scenario import Running, Scenario

SNAPLEN = 96
TRIES, HEALTHY_MS = 3, 400.0
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

UNTIL_TOLD = "{command} >{file} & cat; kill $!; wait"
"""Until its input ends: signals do not get into the lab's own process tree."""

TALK = """
import random, selectors, socket, sys, time
address, every_s, size, many = sys.argv[1], float(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4])
lines = [socket.create_connection((address, 7), 5) for _ in range(many)]
for line in lines:
    line.setblocking(False)
print("talking", flush=True)
wait = selectors.DefaultSelector()
wait.register(sys.stdin, selectors.EVENT_READ)
for number, line in enumerate(lines):
    wait.register(line, selectors.EVENT_READ, number)
due, probe = [0.0] * many, 0.0
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
            sys.exit()
        try:
            key.fileobj.recv(65536)
        except OSError:
            pass
"""


@dataclass(frozen=True)
class Case:
    """One move."""

    name: str
    fault: str = ""
    every_s: float = 0.2
    size: int = 30
    many: int = 2
    places: tuple[str, ...] = ("client", "host-a", "host-b")

    @property
    def finding(self) -> str | None:
        """What a diagnosis must say, and nothing else; none: nothing is wrong."""
        return EXPECTED.get(self.fault)


def cases() -> Iterator[Case]:
    """Four of each fault and twenty healthy ones, of different traffic."""
    manners = ((0.2, 30, 2), (0.3, 30, 2), (0.4, 400, 4), (0.3, 1200, 3))
    for fault in EXPECTED:
        for number, (every_s, size, many) in enumerate(manners):
            size = size if fault != "mtu-mismatch" else 1440
            places = VISIBLE_AT.get(fault, PLACES_OF)
            yield Case(f"{fault}-{number + 1}", fault, every_s, size, many, places[number % len(places)])
    for number in range(20):
        every_s, size, many = manners[number % 4]
        yield Case(f"healthy-{number + 1}", "", every_s * (1 + number // 4 / 4), size, many, PLACES_OF[number % 3])


def record(lab: Scenario, case: Case, out: Path) -> dict[str, object]:
    """The captures of one move lie there; what is expected of them.

    A machine with much else to do can hold a VM up for a second, which is no healthy move: it is recorded again.
    """
    for _ in range(TRIES):
        told, blackout_ms = _record(lab, case, out)
        if case.finding or blackout_ms < HEALTHY_MS:
            break
        _settled(lab)
    return told


def _record(lab: Scenario, case: Case, out: Path) -> tuple[dict[str, object], float]:
    source = lab.where_it_runs("web")[0]
    destination = next(host for host in lab.settings.host_names if host != source)
    address = str(lab.client.vm("web").nics[0].ip.ip)  # type: ignore[union-attr]
    place = source if case.fault in AT_SOURCE else destination
    with ExitStack() as stack:
        stack.enter_context(_talking(lab, address, case))
        files = stack.enter_context(_captured(lab, address, out, case))
        if case.fault:
            lab.fault(f"{case.fault}:{place}", on=True)
        time.sleep(BEFORE_S)
        report = lab.migrate("web", destination, "--force")
        time.sleep(AFTER_S)
    lab.mend()
    return asdict(case) | {"finding": case.finding, "files": files}, report.blackout_ms or 0.0


@contextmanager
def _captured(lab: Scenario, address: str, out: Path, case: Case) -> Iterator[list[str]]:
    which = f"arp or rarp or (ip host {address} and (tcp or udp))"
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
    yield files
    for each in running:
        each.end()  # closes its input


@contextmanager
def _talking(lab: Scenario, address: str, case: Case) -> Iterator[None]:
    words = (sys.executable, "-c", TALK, address, str(case.every_s), str(case.size), str(case.many))
    talking = Running([*lab.look().node("client").enter, *words])
    assert talking.process.stdout is not None
    talking.process.stdout.readline()
    yield
    talking.end()


def _settled(lab: Scenario) -> None:
    """The VM answers and nothing of the last move stands."""
    lab.wait_tidy()
    lab.wait_ready("web")


def main(argv: list[str]) -> int:
    """Records every case whose name begins with one of the words after the directory, or all."""
    out = Path(argv[0]).resolve()
    out.mkdir(parents=True, exist_ok=True)
    file = out / "cases.json"
    told = json.loads(file.read_text()) if file.exists() else {}
    with tempfile.TemporaryDirectory(prefix="gw") as directory, Scenario(Path(directory)) as lab:
        lab.create_vm("web", "host-a")
        lab.wait_ready("web")
        for case in cases():
            if argv[1:] and not case.name.startswith(tuple(argv[1:])):
                continue
            print(case.name, flush=True)
            told[case.name] = record(lab, case, out)
            file.write_text(json.dumps(told, indent=1, sort_keys=True) + "\n")
            _settled(lab)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

"""Nothing that is sent to or from a moving VM is lost, whoever sends it and however much."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from godwit.lab.image import default_cache, ensure_image
from godwit.lab.scenario import Running, Scenario, wait_until
from godwit.lab.traffic_ssh import SSH_PORT, ssh_argv

pytestmark = [pytest.mark.lab, pytest.mark.acceptance, pytest.mark.timeout(900)]

OTHER = {"host-a": "host-b", "host-b": "host-a"}
FAST = 10_000
"""Datagrams a second towards the VM; lowered if the guest does not keep up with it while nothing moves."""
SLOWEST = 2_000


@pytest.fixture(scope="module")
def lab() -> Iterator[Scenario]:
    with tempfile.TemporaryDirectory(prefix="gw") as directory, Scenario(Path(directory)) as scenario:
        scenario.create_vm("web", "host-a")
        scenario.wait_ready("web")
        yield scenario


def address(lab: Scenario, vm: str, nic: int = 0) -> str:
    ip = lab.client.vm(vm).nics[nic].ip
    assert ip is not None
    return str(ip.ip)


def probe(lab: Scenario, to: str, *words: str) -> Running:
    argv = [sys.executable, "-m", "godwit.lab.udp_probe", to, *words]
    return Running([*lab.look().node("client").enter, *argv])


def counted(running: Running) -> dict[str, int]:
    counts: dict[str, int] = json.loads(running.end().out)
    return counts


def in_guest(lab: Scenario, vm: str, command: str) -> Running:
    key = ensure_image("base", cache=default_cache(), progress=lambda _: None) / "id_ed25519"
    words = ssh_argv(address(lab, vm), SSH_PORT, key)
    return Running([*lab.look().node("client").enter, *words[:-1], command])


def move(lab: Scenario, vm: str = "web") -> str:
    return lab.migrate(vm, OTHER[lab.where_it_runs(vm)[0]]).id


def test_a_flood_towards_the_vm(lab: Scenario) -> None:
    def flood(rate: int) -> Running:
        return probe(lab, address(lab, "web"), "--recorded", "--rate", str(rate), "--seconds", "10")

    rate = FAST
    while counted(flood(rate))["lost"] or (moved := flood_while_it_moves(lab, flood(rate)))["lost"]:
        print(f"at {rate} a second: too fast for this machine")
        rate //= 2
        assert rate >= SLOWEST, "frames are lost at any rate"
    print(f"at {rate} a second: {moved}")

    assert moved["duplicates"] <= 4


def flood_while_it_moves(lab: Scenario, flood: Running) -> dict[str, int]:
    """There and back. A slow machine has no time to empty the tap while memory is copied: then it overflows."""
    ids = [move(lab), move(lab)]
    late = sum(lab.client.report(each).network.frames_late for each in ids)
    return counted(flood) | {"late": late}


def test_bulk_both_ways_repeats_nothing_that_had_arrived(lab: Scenario) -> None:
    with lab.traffic("web", kinds=("bulk", "upload", "echo")) as traffic:
        for number in range(2):
            move(lab)
            traffic.mark(f"moved {number}")
        clients = traffic.stop().clients

    assert [(each.survived, each.verified) for each in clients] == [(True, True)] * 3
    needed = {each.kind: each.retransmissions - each.spurious_retransmissions for each in clients}
    assert max(needed.values()) <= 0, needed  # what the relay sends a second time is told as had already, too


def test_two_cards(lab: Scenario) -> None:
    words = ("--memory", "256MiB", "--cpus", "1", "--network", "lan", "--network", "lan=10.93.0.5/24")
    lab.demand("vm", "create", "both", "--image", "base", *words, "--host", "host-a")
    try:
        subprocess.run(
            [*lab.look().node("client").enter, "ip", "address", "add", "10.93.0.2/24", "dev", "lan0"], check=True
        )
        lab.wait_ready("both")
        probes = [probe(lab, address(lab, "both", nic), "--rate", "1000", "--seconds", "8") for nic in (0, 1)]
        move(lab, "both")
        for each in map(counted, probes):
            assert (each["lost"], each["duplicates"] <= 2) == (0, True)
    finally:
        lab.delete_vm("both")


def test_neighbours_on_both_hosts_lose_nothing(lab: Scenario) -> None:
    """A VM on the source, one on the destination, and the one that moves talk to each other throughout."""
    for name, host in (("left", "host-a"), ("right", "host-b")):
        lab.create_vm(name, host)
        lab.wait_ready(name)
    pairs = [("left", "web"), ("right", "web"), ("left", "right"), ("web", "left"), ("web", "right")]
    pings = {pair: in_guest(lab, pair[0], f"ping -q -i 0.05 -c 200 {address(lab, pair[1])}") for pair in pairs}
    ids = [move(lab)]
    said = {pair: running.end().out for pair, running in pings.items()}

    lost = {pair: re.search(r"(\d+)% packet loss", text) for pair, text in said.items()}
    assert {pair: found and found[1] for pair, found in lost.items()} == dict.fromkeys(pairs, "0"), said
    wait_until("it is settled", lambda: all(lab.client.migration(each).settled for each in ids))

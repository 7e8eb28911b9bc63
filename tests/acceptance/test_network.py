"""Nothing that is sent to or from a moving VM is lost, whoever sends it and however much."""

from __future__ import annotations

import json
import re
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, closing, contextmanager
from pathlib import Path

import pytest
from tests.lab.network import Idle, address, in_client, in_node, other, settled

from godwit.core.report import RelayEnd
from godwit.lab.image import default_cache, ensure_image
from godwit.lab.scenario import Running, Scenario, wait_until
from godwit.lab.traffic_ssh import SSH_PORT, ssh_argv

pytestmark = [pytest.mark.lab, pytest.mark.acceptance, pytest.mark.timeout(900)]

FAST = 10_000
"""Datagrams a second towards the VM; lowered if the guest does not keep up with it while nothing moves."""
SLOWEST = 2_000
LIFETIME_S = 300
"""Of a switch's entry that nothing renews, and of a relay that nobody has witnessed."""
FORGOTTEN = {RelayEnd.learned, RelayEnd.unwitnessed}
"""A switch that forgets a second before the relay's time is over floods what shows that the new place is reached."""


@pytest.fixture(scope="module")
def lab() -> Iterator[Scenario]:
    with tempfile.TemporaryDirectory(prefix="gw") as directory, Scenario(Path(directory)) as scenario:
        scenario.create_vm("web", "host-a")
        scenario.wait_ready("web")
        yield scenario
        consoles = [
            Path(f"/proc/{scenario.qemu_pid(vm.name, vm.host)}/root/run/godwit/vms/{vm.name}/console.log")
            for vm in scenario.client.vms()
            if vm.host
        ]
        for log in [*sorted((scenario.lab.data_dir / "logs").glob("*.log")), *consoles]:
            print(f"--- {log}\n{log.read_text(errors='replace')[-20_000:]}")


def probe(lab: Scenario, to: str, *words: str) -> Running:
    return in_client(lab, "udp_probe", to, *words)


def counted(running: Running) -> dict[str, int]:
    done = running.end()
    assert done.status == 0, done.err
    counts: dict[str, int] = json.loads(done.out)
    return counts


def in_guest(lab: Scenario, vm: str, command: str) -> Running:
    key = ensure_image("base", cache=default_cache(), progress=lambda _: None) / "id_ed25519"
    words = ssh_argv(address(lab, vm), SSH_PORT, key)
    return Running([*lab.look().node("client").enter, *words[:-1], command])


def move(lab: Scenario, vm: str = "web") -> str:
    return lab.migrate(vm, other(lab.where_it_runs(vm)[0])).id


def test_a_flood_towards_the_vm(lab: Scenario) -> None:
    def flood(rate: int) -> Running:
        return probe(lab, address(lab), "--recorded", "--rate", str(rate), "--seconds", "10")

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


Blocking = Callable[[Scenario, str], AbstractContextManager[None]]


@contextmanager
def blocked(lab: Scenario, here: str) -> Iterator[None]:
    """No announcement from the other host gets through the switch."""
    fault = f"announcements-blocked:{other(here)}"
    lab.fault(fault, on=True)
    try:
        yield
    finally:
        lab.fault(fault, on=False)


@contextmanager
def stale(lab: Scenario, here: str) -> Iterator[None]:
    """The switch sends the VM's frames to that host's port until the entry has aged."""
    entry = f"{lab.client.vm('web').nics[0].mac} dev {here} master"
    in_node(lab, "lan-switch", f"bridge fdb replace {entry} sticky static")
    try:
        yield
    finally:
        in_node(lab, "lan-switch", f"bridge fdb del {entry}")


@pytest.mark.parametrize("how", [blocked, stale])
def test_a_minute_in_which_the_network_does_not_learn(lab: Scenario, how: Blocking) -> None:
    """Who talks loses nothing, and who was silent for a minute before it and all through it is still connected."""
    here = lab.where_it_runs("web")[0]
    with closing(Idle(lab)) as idle, how(lab, here), lab.traffic("web") as traffic:
        before = counted(probe(lab, address(lab), "--rate", "500", "--seconds", "60"))
        talking = probe(lab, address(lab), "--rate", "500", "--seconds", "66")
        id = move(lab)
        meanwhile = counted(talking)
        network = lab.client.report(id).network
        clients = traffic.stop().clients
        woken = idle.wake()

    assert (before["lost"], meanwhile["lost"], meanwhile["duplicates"] <= 2) == (0, 0, True)
    assert [(each.survived, each.verified) for each in clients] == [(True, True)] * 2
    assert woken == "b'again'"
    assert (network.relay_ended, network.learned_at_ms) == (None, None)
    assert "the switch before it still sends the VM's frames there" in str(network.warning)
    assert network.frames_relayed > 20_000
    assert settled(lab, id).network.relay_ended is RelayEnd.learned


def test_an_entry_of_the_switch_that_grows_old(lab: Scenario) -> None:
    """For 300 s only the relay knows the way. Then the switch forgets, floods what comes, and the relay goes."""
    here = lab.where_it_runs("web")[0]
    with closing(Idle(lab)) as idle, blocked(lab, here), lab.traffic("web") as traffic:
        talking = probe(lab, address(lab), "--rate", "200", "--seconds", str(LIFETIME_S + 20))
        id = move(lab)
        talking.process.wait(timeout=2 * LIFETIME_S)
        counts = counted(talking)
        network = lab.client.report(id).network
        clients = traffic.stop().clients
        woken = idle.wake()
    print(counts, network, [(each.kind, each.windows) for each in clients])

    assert counts["lost"] == 0
    assert [(each.survived, each.verified) for each in clients] == [(True, True)] * 2
    assert woken == "b'again'"
    assert network.relay_ended in FORGOTTEN
    assert network.frames_relayed > 200 * (LIFETIME_S - 20)
    assert settled(lab, id).network.relay_ended is network.relay_ended


GATE = """
table inet gate {
    chain forward {
        type filter hook forward priority 0
        meta l4proto != tcp accept
        ct state established,related accept
        ct state new tcp flags & (syn | ack) == syn accept
        counter drop
    }
}
"""
STRICT = {"netfilter/nf_conntrack_tcp_loose": 0, "bridge/bridge-nf-call-iptables": 1}


@pytest.fixture
def gates(lab: Scenario) -> Iterator[None]:
    """Both hosts let through what belongs to a connection whose first packet they have seen, and nothing else."""
    for host in lab.settings.host_names:
        for name, value in STRICT.items():
            in_node(lab, host, f"tee /proc/sys/net/{name}", str(value))
        in_node(lab, host, "nft -f -", GATE)
    yield
    for host in lab.settings.host_names:
        in_node(lab, host, "nft delete table inet gate")


@pytest.mark.usefixtures("gates")
def test_packet_filters_that_know_connections_know_them_at_the_new_place(lab: Scenario) -> None:
    """There, where nobody knew them, and back, where they are known of old."""
    for _ in range(2):
        with closing(Idle(lab)) as idle, lab.traffic("web") as traffic:
            settled(lab, move(lab))
            assert idle.wake() == "b'again'"
            clients = traffic.stop().clients

        assert [(each.survived, each.verified) for each in clients] == [(True, True)] * 2

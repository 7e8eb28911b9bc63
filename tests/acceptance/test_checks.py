"""Rules of the checks on a lab: what is provoked there is found, and nothing else; and it is gone with its cause."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest

from godwit.core.model import MIB, DiskFormat
from godwit.core.resources import DiskRequest, NicRequest, VmChange, VmRequest
from godwit.lab.scenario import Scenario, wait_until

pytestmark = [pytest.mark.lab, pytest.mark.acceptance]

OF_THE_MACHINE = {"host-overloaded", "memory-swapped", "link-slow"}
"""What may be found on a machine that is busy with tests."""
LOSS = "flush ruleset; table bridge lossy { chain losses { type filter hook forward priority 0; %s; }; }"


def request(
    name: str, host: str, *, mib: int = 256, disks: Sequence[DiskRequest] = (), start: bool = True
) -> VmRequest:
    nics = (NicRequest(network="lan"),)
    return VmRequest(name=name, memory_mib=mib, nics=nics, disks=tuple(disks), host=host, start=start)


@pytest.fixture(scope="module")
def lab() -> Iterator[Scenario]:
    with tempfile.TemporaryDirectory(prefix="gw") as directory, Scenario(Path(directory)) as scenario:
        disk = DiskRequest(name="data", size_bytes=8 * MIB, format=DiskFormat.raw)
        scenario.client.create_vm(request("web", "host-a", disks=(disk,)))
        scenario.wait_ready("web")
        wait_until("its guest agent answers", lambda: found(scenario) == set())
        yield scenario


def found(lab: Scenario, vm: str = "web", host: str = "host-b", *, wanted: str = "") -> set[str]:
    done = lab.run("check", vm, host, "--json")
    assert done.status in {0, 2}, done
    return {each["code"] for each in json.loads(done.out)["findings"]} - (OF_THE_MACHINE - {wanted})


def inside(lab: Scenario, node: str, *words: str) -> None:
    lab.demand("lab", "exec", node, "--", *words)


@contextmanager
def losing(lab: Scenario, switch: str, rule: str) -> Iterator[None]:
    """What that rule of nftables says is lost in the switch."""
    inside(lab, switch, "nft", LOSS % rule)
    try:
        yield
    finally:
        inside(lab, switch, "nft", "flush ruleset")


@contextmanager
def ruled(lab: Scenario, vm: str, *rules: str) -> Iterator[None]:
    lab.client.change_vm(vm, VmChange(rules=rules))
    try:
        yield
    finally:
        lab.client.change_vm(vm, VmChange(rules=()))


def test_a_network_that_lets_through_one_way_only(lab: Scenario) -> None:
    with losing(lab, "lan-switch", 'iifname "host-b" drop'):
        assert found(lab) == {"network-one-way"}
    assert found(lab) == set()


def test_somebody_else_with_its_address(lab: Scenario) -> None:
    nic = lab.client.vm("web").nics[0]
    assert nic.ip is not None
    inside(lab, "client", "ip", "address", "add", f"{nic.ip.ip}/32", "dev", "lan0")
    try:
        assert found(lab) == {"ip-conflict"}
    finally:
        inside(lab, "client", "ip", "address", "del", f"{nic.ip.ip}/32", "dev", "lan0")
    assert found(lab) == set()


def test_a_migration_link_that_loses(lab: Scenario) -> None:
    with losing(lab, "migration-switch", "meta length > 1000 numgen random mod 100 < 5 drop"):
        assert found(lab, wanted="link-lossy") == {"link-lossy"}
    assert found(lab, wanted="link-lossy") == set()


def test_what_its_owner_says(lab: Scenario) -> None:
    with ruled(lab, "web", "never-migrate"):
        assert found(lab) == {"never-migrate"}
    with ruled(lab, "web", "max-stall=1ms"):
        assert found(lab) - {"blackout-unreachable"} == {"max-stall"}, "no memory is so small"
    lab.client.create_vm(request("db", "host-b", mib=128))
    with ruled(lab, "web", "keep-apart=pair"), ruled(lab, "db", "keep-apart=pair"):
        assert found(lab) == {"keep-apart"}
        assert found(lab, "db", "host-a") - {"guest-agent-absent"} == {"keep-apart"}, "a new guest has no agent yet"
    lab.delete_vm("db")


def test_too_little_memory(lab: Scenario) -> None:
    facts = lab.client.host("host-b").facts
    assert facts is not None
    lab.client.create_vm(request("large", "host-b", mib=facts.memory_free_mib - 200))
    assert found(lab) == {"memory"}
    lab.delete_vm("large")
    assert found(lab) == set()


def test_a_disk_of_a_cluster(lab: Scenario) -> None:
    disk = DiskRequest(name="quorum", size_bytes=MIB, clustered=True)
    lab.client.create_vm(request("node", "host-a", mib=128, disks=(disk,)))
    assert "clustered-disk" in found(lab, "node")
    lab.delete_vm("node")


def test_a_vm_that_is_off(lab: Scenario) -> None:
    lab.client.create_vm(request("off", "host-a", mib=128, start=False))
    assert "vm-not-running" in found(lab, "off")
    lab.demand("vm", "delete", "off")


def test_a_share_that_is_not_mounted(lab: Scenario) -> None:
    path = next(each.path for each in lab.client.datastores() if each.name == "default")
    inside(lab, "host-b", "mount", "-t", "tmpfs", "none", path)
    try:
        assert found(lab) >= {"file-missing"}
    finally:
        inside(lab, "host-b", "umount", path)
    assert found(lab) == set()


def test_three_moves_in_three_minutes(lab: Scenario) -> None:
    for host in ("host-b", "host-a", "host-b"):
        lab.migrate("web", host)
    assert found(lab, "web", "host-a") == {"moved-often"}


def test_a_host_is_looked_at_without_a_vm(lab: Scenario) -> None:
    with losing(lab, "lan-switch", 'iifname "host-b" drop'):
        done = lab.run("doctor", "--json")
    told = json.loads(done.out)
    assert done.status == 1
    for host in ("host-a", "host-b"):
        codes = {each["code"] for each in told[host]["findings"]} - OF_THE_MACHINE
        assert (codes, told[host]["leftovers"]) == ({"network-one-way"}, [])

from __future__ import annotations

import pytest

from godwit.core.errors import Invalid, NotFound, Refused
from godwit.lab.faults import NAMES, Fault, ageing, cables, drops, learning, losses, parse
from godwit.lab.faults_cables import speed
from godwit.lab.settings import Settings
from godwit.lab.topology import MIGRATION, STORAGE, Topology

PLAN = Topology(Settings(hosts=3))
WITH_STORAGE = Topology(Settings(hosts=3, storage_node=True))


@pytest.mark.parametrize("name", NAMES)
def test_a_fault_is_written_as_it_is_read(name: str) -> None:
    assert str(parse(f"{name}:host-b", WITH_STORAGE)) == f"{name}:host-b"


def test_an_unknown_fault_is_answered_with_the_known_ones() -> None:
    with pytest.raises(NotFound, match="migration-link-down, agent-link-down, control-link-down"):
        parse("earthquake:host-b", PLAN)


@pytest.mark.parametrize("where", ["", ":", ":host-d", ":client"])
def test_a_fault_needs_a_host_of_this_lab(where: str) -> None:
    with pytest.raises(Invalid, match="host-a or host-b or host-c"):
        parse(f"migration-link-down{where}", PLAN)


def test_only_the_pulled_cable_is_down() -> None:
    text = cables(PLAN, {Fault(name="migration-link-down", host="host-b")}, MIGRATION)
    assert text == "link set dev host-a up\nlink set dev host-b down\nlink set dev host-c up\n"
    text = cables(WITH_STORAGE, {Fault(name="storage-link-down", host="host-a")}, STORAGE)
    assert text.splitlines()[0] == "link set dev storage up"
    assert [line for line in text.splitlines() if line.endswith("down")] == ["link set dev host-a down"]


def test_without_a_storage_node_there_is_no_storage_cable_to_pull() -> None:
    with pytest.raises(Refused, match="lab up --storage-node"):
        parse("storage-link-down:host-a", PLAN)


def test_agents_lose_each_other_and_keep_the_manager() -> None:
    text = drops(PLAN, {Fault(name="agent-link-down", host="host-b")})
    assert "ip saddr 10.91.0.12 ip daddr { 10.91.0.11, 10.91.0.13 } drop" in text
    assert "ip saddr { 10.91.0.11, 10.91.0.13 } ip daddr 10.91.0.12 drop" in text
    assert "10.91.0.2 " not in text


def test_the_manager_loses_a_host_and_keeps_the_others() -> None:
    text = drops(PLAN, {Fault(name="control-link-down", host="host-b")})
    assert "ip saddr 10.91.0.12 ip daddr { 10.91.0.2 } drop" in text
    assert "10.91.0.11" not in text


def test_a_blocked_port_is_neither_heard_nor_learned_from() -> None:
    active = {Fault(name="announcements-blocked", host="host-b")}
    assert "link set dev host-b learning off" in learning(PLAN, active).splitlines()
    assert learning(PLAN, active).count("learning on") == 3
    assert losses(PLAN, active).count('iifname "host-b"') == 3
    assert "iifname" not in losses(PLAN, ())


def test_a_port_in_another_vlan_hears_and_tells_nothing() -> None:
    text = losses(PLAN, {Fault(name="vlan-mismatch", host="host-b")})
    assert 'iifname "host-b" drop' in text
    assert 'oifname "host-b" drop' in text


def test_a_secured_port_knows_its_host_only() -> None:
    text = losses(PLAN, {Fault(name="port-security", host="host-b")})
    assert 'iifname "host-b" ether saddr != 02:00:0a:5a:00:0c drop' in text


def test_what_is_stale_stays() -> None:
    active = {Fault(name="stale-mac", host="host-a")}
    assert learning(PLAN, active).count("learning on") == 1
    assert "link set dev host-a learning on" in learning(PLAN, active)
    assert "ageing_time 8640000" in ageing(active)
    assert "ageing_time 30000" in ageing(())


def test_a_slow_cable_is_slow_at_both_ends_and_quick_again() -> None:
    host = PLAN.hosts[1]

    slow, quick = (speed(PLAN, host, is_slow=each) for each in (True, False))

    assert set(slow) == {"host-b", "migration-switch"}
    assert all("rate 20000000bit" in text for text in slow.values())
    assert all("rate 1000000000bit" in text for text in quick.values())
    assert "dev host-a" not in slow["migration-switch"]


def test_without_faults_nothing_is_dropped_or_pulled() -> None:
    assert "drop" not in drops(PLAN, ())
    assert "down" not in cables(PLAN, (), MIGRATION)

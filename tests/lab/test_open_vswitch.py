"""The lab's other LAN switch: what it is told."""

from __future__ import annotations

import pytest

from godwit.core.errors import Refused
from godwit.lab.faults import Fault
from godwit.lab.open_vswitch import ABSENT, demand_playable, flows, start, vlans
from godwit.lab.privilege import demand_programs
from godwit.lab.settings import Settings, SwitchKind
from godwit.lab.topology import LAN, Topology, interfaces

PLAN = Topology(Settings(switch=SwitchKind.ovs))


def test_every_port_is_an_access_port_of_one_vlan() -> None:
    words = start("br0", [node.name for node in PLAN.plugged_into(LAN)])[-1]

    assert words.count("tag=10") == 3
    assert [words[at + 2] for at, word in enumerate(words) if word == "add-port"] == ["client", "host-a", "host-b"]


def test_the_bridge_is_its_own_affair() -> None:
    switch = next(node for node in PLAN.nodes if node.name == LAN.switch)

    assert "type bridge" not in interfaces(PLAN, switch)


def test_a_mismatch_is_another_tag() -> None:
    assert " ".join(vlans(PLAN, {Fault(name="vlan-mismatch", host="host-b")})).endswith(
        "set port host-a tag=10 -- set port host-b tag=20"
    )
    assert "tag=20" not in " ".join(vlans(PLAN, ()))


def test_blocked_announcements_are_dropped_and_nothing_else_is_learned() -> None:
    text = flows(PLAN, {Fault(name="announcements-blocked", host="host-b")})

    assert "priority=200,in_port=host-b,dl_type=0x8035 actions=drop" in text
    assert "priority=100,in_port=host-b actions=output:client,output:host-a" in text


def test_a_secured_port_knows_its_host_only() -> None:
    text = flows(PLAN, {Fault(name="port-security", host="host-b")})

    assert "priority=201,in_port=host-b,dl_src=02:00:0a:5a:00:0c actions=NORMAL" in text
    assert "priority=150,in_port=host-b actions=drop" in text


@pytest.mark.parametrize("name", sorted(ABSENT))
def test_what_it_cannot_play_is_refused(name: str) -> None:
    with pytest.raises(Refused, match="start the lab without --switch ovs"):
        demand_playable(Fault(name=name, host="host-b"))


def test_what_is_not_installed_is_named() -> None:
    with pytest.raises(Refused, match="apt-get install openvswitch-switch"):
        demand_programs(("ovs-that-is-not-there",), "openvswitch-switch")

from __future__ import annotations

import pytest

from godwit.lab.settings import LinkQueue, Settings
from godwit.lab.shaping import shaping
from godwit.lab.topology import CONTROL, MIGRATION, Node, Topology


def plan(**settings: object) -> Topology:
    return Topology(Settings.model_validate(settings))


def node(topology: Topology, name: str) -> Node:
    return next(node for node in topology.nodes if node.name == name)


def test_priority_puts_marked_frames_and_arp_into_the_class_that_is_promised_most() -> None:
    assert shaping(plan(rate="1gbit"), node(plan(), "host-a")).splitlines() == [
        "qdisc add dev mig0 root handle 1: htb default 20",
        "class add dev mig0 parent 1: classid 1:1 htb rate 1000000000bit ceil 1000000000bit"
        " burst 250000 cburst 250000 quantum 60000",
        "class add dev mig0 parent 1:1 classid 1:10 htb rate 900000000bit ceil 1000000000bit"
        " burst 250000 cburst 250000 quantum 60000 prio 0",
        "class add dev mig0 parent 1:1 classid 1:20 htb rate 100000000bit ceil 1000000000bit"
        " burst 250000 cburst 250000 quantum 60000 prio 1",
        "qdisc add dev mig0 parent 1:10 handle 10: bfifo limit 6250000",
        "qdisc add dev mig0 parent 1:20 handle 20: bfifo limit 6250000",
        "filter add dev mig0 parent 1: protocol ip prio 1 u32 match ip tos 0x80 0x80 flowid 1:10",
        "filter add dev mig0 parent 1: protocol arp prio 2 u32 match u32 0 0 flowid 1:10",
    ]


def test_fifo_has_one_class_and_no_filter() -> None:
    lines = shaping(plan(rate="1gbit", link_queue="fifo"), node(plan(), "host-a")).splitlines()
    assert [line.split()[0] for line in lines] == ["qdisc", "class", "class", "qdisc"]


@pytest.mark.parametrize("queue", list(LinkQueue))
def test_each_direction_of_each_migration_cable_is_limited_once(queue: LinkQueue) -> None:
    topology = plan(hosts=3, link_queue=queue)
    roots = [
        (each.name, line.split()[3])
        for each in topology.nodes
        for line in shaping(topology, each).splitlines()
        if " root " in line
    ]
    ports = [(MIGRATION.switch, host.name) for host in topology.hosts]
    assert sorted(roots) == sorted(ports + [(host.name, "mig0") for host in topology.hosts])


def test_unlimited_means_no_shaping_anywhere() -> None:
    topology = plan(rate="unlimited")
    assert [shaping(topology, each) for each in topology.nodes] == [""] * 7


def test_slow_links_let_a_whole_super_packet_pass() -> None:
    text = shaping(plan(rate="1mbit"), node(plan(), "host-a"))
    assert "burst 131072 " in text
    assert "bfifo limit 131072" in text


def test_the_control_network_is_never_limited() -> None:
    topology = plan()
    assert shaping(topology, node(topology, CONTROL.switch)) == ""
    assert "ctl0" not in shaping(topology, node(topology, "host-a"))

"""Hosts with Open vSwitch, and beside them one with a Linux bridge: nothing is lost, whatever a VM comes from."""

from __future__ import annotations

import json

import pytest
from tests.lab.network import address, dropped_by_open_vswitch, in_client, in_node, needs_open_vswitch, settled

from godwit.core.finding import Severity
from godwit.core.report import RelayEnd
from godwit.lab.scenario import Scenario
from godwit.lab.settings import Settings, SwitchKind

pytestmark = [pytest.mark.lab, needs_open_vswitch]

SETTINGS = Settings(hosts=3, bridges={"host-b": SwitchKind.ovs, "host-c": SwitchKind.ovs})
ROUND = ("host-b", "host-c", "host-a")
"""From a Linux bridge to Open vSwitch, from there to another one, and from there to the Linux bridge."""
RATE = 500
"""Datagrams a second, there and back: few enough for a switch in user space that gets no CPU for a while."""


def test_nothing_is_lost_and_nothing_left_on_a_round_through_both_kinds(lab: Scenario) -> None:
    assert lab.where_it_runs("web") == ("host-a",)
    found = {each.code: each.severity for each in lab.client.check("web", "host-b").findings}
    probe = in_client(lab, "udp_probe", address(lab), "--rate", str(RATE), "--seconds", "60", "--until-told")
    with lab.traffic("web", kinds=("redis", "echo")) as traffic:
        moves = [lab.migrate("web", host).id for host in ROUND]
        assert probe.process.stdin is not None
        probe.process.stdin.write(b"\n")
        probe.process.stdin.flush()
        counted = json.loads(probe.end().out)
        dropped = dropped_by_open_vswitch(lab, *ROUND[:2])  # their sockets are there as long as the relays stand
        clients = traffic.stop().clients
    reports = [settled(lab, each) for each in moves]
    print(counted, dropped, [each.network for each in reports])

    assert Severity.blocker not in found.values(), found
    assert counted["lost"] <= dropped
    assert counted["duplicates"] <= 2 * len(moves)
    assert [(each.survived, each.verified) for each in clients] == [(True, True)] * 2
    for report in reports:
        assert report.network.relay_ended in {RelayEnd.learned, RelayEnd.moved_on}
        assert report.network.witnessed_at_ms is not None
        assert report.network.warning is None
    assert reports[-1].network.relay_ended is RelayEnd.learned
    lab.wait_tidy()
    for host in ROUND[:2]:
        assert in_node(lab, host, "ovs-vsctl list-ports br-lan").split() == ["lan0"]

"""What comes for a VM while it stands still reaches it in order, and the relay goes when the network has learned."""

from __future__ import annotations

import json

import pytest
from tests.lab.network import Idle, address, in_client, in_node, other, settled

from godwit.core.report import RelayEnd
from godwit.lab.scenario import Scenario, wait_until

pytestmark = pytest.mark.lab

RATE = 2000
"""Datagrams a second, there and back."""


def test_no_datagram_is_lost_and_few_come_twice(lab: Scenario) -> None:
    """Few are overtaken: those of the moment in which the relay is opened, and what cables between two CPUs make."""
    probe = in_client(lab, "udp_probe", address(lab), "--rate", str(RATE), "--seconds", "14")
    here = lab.where_it_runs("web")[0]
    reports = [lab.migrate("web", other(here)), lab.migrate("web", here)]
    counted = json.loads(probe.end().out)
    print(counted, [lab.client.report(each.id).network for each in reports])

    assert counted["sent"] > 10_000
    assert counted["lost"] == 0
    assert counted["duplicates"] <= 2 * len(reports)
    assert counted["reordered"] <= 10 * len(reports)


def test_newcomers_get_in_and_whoever_was_silent_stays_connected(lab: Scenario) -> None:
    """The new place is announced, witnessed and learned, then the relay goes."""
    idle = Idle(lab)
    here = lab.where_it_runs("web")[0]
    newcomers = in_client(lab, "newcomers", address(lab))

    moved = lab.migrate("web", other(here))
    came = json.loads(newcomers.end().out)
    report = settled(lab, moved.id)

    assert (came["failed"], came["repeated"]) == ([], 0)
    assert came["answered"] > 100
    assert idle.wake() == "b'again'"
    network = report.network
    assert {"rarp", "gratuitous-arp", "announce-self"} <= {each.kind for each in network.announcements}
    assert any(here in each.witnessed_by for each in network.announcements)
    assert network.relay_ended is RelayEnd.learned
    assert network.warning is None
    assert report.blackout_ms is not None
    assert network.witnessed_at_ms is not None
    assert network.learned_at_ms is not None
    assert network.relay_removed_at_ms is not None
    resumed_ms = report.blackout_ms - (report.clock_error_ms or 0.0)
    assert resumed_ms < network.witnessed_at_ms <= network.learned_at_ms < network.relay_removed_at_ms
    lab.wait_tidy()


def test_connections_live_while_announcements_are_blocked_and_agents_restart(lab: Scenario) -> None:
    """The switch goes on sending to the old place, which relays for as long as it is needed."""
    here = lab.where_it_runs("web")[0]
    there = other(here)
    lab.fault(f"announcements-blocked:{there}", on=True)

    with lab.traffic("web", kinds=("redis", "echo")) as traffic:
        moved = lab.migrate("web", there)
        traffic.mark("moved")
        wait_until("frames are relayed", lambda: relayed(lab, moved.id) > 200)
        lab.kill_daemon(here, there)
        lab.wait_answering()
        before = relayed(lab, moved.id)
        wait_until("frames are relayed on", lambda: relayed(lab, moved.id) > before + 200)
        wait_until("it is told", lambda: lab.client.report(moved.id).network.warning is not None)
        while_blocked = lab.client.report(moved.id)
        lab.fault(f"announcements-blocked:{there}", on=False)
        report = settled(lab, moved.id)
        clients = traffic.stop().clients

    assert [(each.survived, each.verified) for each in clients] == [(True, True)] * 2
    assert moved.outcome == "done"
    assert not while_blocked.settled
    assert while_blocked.network.relay_ended is None
    assert "has not learned the new place of web" in str(while_blocked.network.warning)
    assert report.network.relay_ended is RelayEnd.learned
    lab.wait_tidy()


def test_a_switch_that_has_not_learned_is_no_witness(lab: Scenario) -> None:
    """It floods the announcement, so that the old host sees it, and goes on sending the VM's frames there."""
    here = lab.where_it_runs("web")[0]
    stale = f"{lab.client.vm('web').nics[0].mac} dev {here} master"
    in_node(lab, "lan-switch", f"bridge fdb replace {stale} sticky static")
    try:
        moved = lab.migrate("web", other(here))
        wait_until("it is told", lambda: lab.client.report(moved.id).network.warning is not None)
        network = lab.client.report(moved.id).network
        assert network.witnessed_at_ms is not None
        assert network.learned_at_ms is None
        assert "the switch before it still sends the VM's frames there; look" in str(network.warning)
        lab.traffic("web", kinds=("echo",)).close()
    finally:
        in_node(lab, "lan-switch", f"bridge fdb del {stale}")
    assert settled(lab, moved.id).network.relay_ended is RelayEnd.learned
    lab.wait_tidy()


def relayed(lab: Scenario, id: str) -> int:
    return lab.client.report(id).network.frames_relayed

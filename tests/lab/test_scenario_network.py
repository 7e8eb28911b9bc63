"""What comes for a VM while it stands still reaches it, and the new place is witnessed before the relay goes."""

from __future__ import annotations

import json
import sys

import pytest

from godwit.core.report import Report
from godwit.lab.scenario import Running, Scenario, wait_until

pytestmark = pytest.mark.lab

RATE = 2000
"""Datagrams a second, there and back."""


def other(host: str) -> str:
    return {"host-a": "host-b", "host-b": "host-a"}[host]


def udp_probe(lab: Scenario, seconds: float) -> Running:
    nic = lab.client.vm("web").nics[0]
    assert nic.ip is not None
    words = [sys.executable, "-m", "godwit.lab.udp_probe", str(nic.ip.ip)]
    return Running([*lab.look().node("client").enter, *words, "--rate", str(RATE), "--seconds", str(seconds)])


def settled(lab: Scenario, id: str) -> Report:
    """The migration's report, once its relay is gone."""
    wait_until(f"{id} is settled", lambda: lab.client.migration(id).settled)
    return lab.client.report(id)


def test_no_datagram_is_lost_and_few_come_twice(lab: Scenario) -> None:
    probe = udp_probe(lab, 14.0)
    here = lab.where_it_runs("web")[0]
    reports = [lab.migrate("web", other(here)), lab.migrate("web", here)]
    counted = json.loads(probe.end().out)

    assert counted["sent"] > 1000
    assert counted["lost"] == 0
    assert counted["duplicates"] <= 2 * len(reports)


def test_the_new_place_is_announced_witnessed_and_the_relay_goes(lab: Scenario) -> None:
    here = lab.where_it_runs("web")[0]

    moved = lab.migrate("web", other(here))
    report = settled(lab, moved.id)

    network = report.network
    assert {"rarp", "gratuitous-arp", "announce-self"} <= {each.kind for each in network.announcements}
    assert any(here in each.witnessed_by for each in network.announcements)
    assert network.witnessed_at_ms is not None
    assert network.relay_removed_at_ms is not None
    assert report.blackout_ms is not None
    assert report.blackout_ms < network.witnessed_at_ms < network.relay_removed_at_ms
    lab.wait_tidy()


def test_connections_live_while_announcements_are_blocked(lab: Scenario) -> None:
    """The switch goes on sending to the old place, which relays for as long as it is needed."""
    here = lab.where_it_runs("web")[0]
    there = other(here)
    lab.fault(f"announcements-blocked:{there}", on=True)

    with lab.traffic("web", kinds=("redis", "echo")) as traffic:
        moved = lab.migrate("web", there)
        traffic.mark("moved")
        wait_until("frames are relayed", lambda: lab.client.report(moved.id).network.frames_relayed > 200)
        while_blocked = lab.client.report(moved.id)
        lab.fault(f"announcements-blocked:{there}", on=False)
        report = settled(lab, moved.id)
        clients = traffic.stop().clients

    assert [(each.survived, each.verified) for each in clients] == [(True, True)] * 2
    assert moved.outcome == "done"
    assert not while_blocked.settled
    assert while_blocked.network.relay_removed_at_ms is None
    assert report.network.relay_removed_at_ms is not None
    lab.wait_tidy()

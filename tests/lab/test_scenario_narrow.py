"""On the network that most people have, 1500 bytes wide and with one queue, nothing is lost either."""

from __future__ import annotations

import json
import sys

import pytest

from godwit.lab.scenario import Running, Scenario, wait_until
from godwit.lab.settings import LinkQueue, Settings

pytestmark = pytest.mark.lab

SETTINGS = Settings(migration_mtu=1500, link_queue=LinkQueue.fifo)


def other(host: str) -> str:
    return {"host-a": "host-b", "host-b": "host-a"}[host]


def test_long_frames_are_cut_and_none_is_lost(lab: Scenario) -> None:
    """The switch goes on sending to the old place, so that the upload's frames of 1500 bytes go by the relay."""
    here = lab.where_it_runs("web")[0]
    nic = lab.client.vm("web").nics[0]
    assert nic.ip is not None
    lab.fault(f"announcements-blocked:{other(here)}", on=True)

    with lab.traffic("web", kinds=("echo", "upload")) as traffic:
        words = [sys.executable, "-m", "godwit.lab.udp_probe", str(nic.ip.ip), "--rate", "2000", "--seconds", "10"]
        probe = Running([*lab.look().node("client").enter, *words])
        moved = lab.migrate("web", other(here))
        wait_until("many are relayed", lambda: lab.client.report(moved.id).network.frames_relayed > 10_000)
        lab.fault(f"announcements-blocked:{other(here)}", on=False)
        counted = json.loads(probe.end().out)
        clients = traffic.stop().clients

    assert [(each.survived, each.verified) for each in clients] == [(True, True)] * 2
    assert (counted["lost"], counted["duplicates"] <= 2) == (0, True)
    assert any("cut in two" in each.event for each in lab.client.report(moved.id).timeline)
    wait_until("it is settled", lambda: lab.client.migration(moved.id).settled)
    lab.wait_tidy()

"""Disks go with a VM that runs, without it, and while it is off; every record that was acknowledged is there after."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest
from tests.lab.disks import assert_whole, blocks, files, go, lab_with_disks, udp_probe

from godwit.core.migration import Kind
from godwit.core.model import VmState
from godwit.core.phase import Phase
from godwit.lab.scenario import Scenario

pytestmark = pytest.mark.lab

AT_A = ["host-a/data.qcow2", "host-a/journal.raw"]
AT_B = ["host-b/data.qcow2", "host-b/journal.raw"]
SHARED = ["datastore/data.qcow2", "datastore/journal.raw"]


@pytest.fixture(scope="module")
def lab() -> Iterator[Scenario]:
    with lab_with_disks() as scenario:
        yield scenario


def test_disks_go_while_the_vm_runs(lab: Scenario) -> None:
    """To another host with it, to another datastore without it, and back: no record, datagram or client is lost."""
    probe = udp_probe(lab, 16.0)
    with lab.traffic("web", kinds=("records", "redis", "echo")) as traffic:
        there = go(lab, "host-b", "--datastore", "local")
        assert files(lab) == AT_B
        traffic.mark("there")
        aside = go(lab, "--datastore", "default")
        assert files(lab) == SHARED
        traffic.mark("aside")
        back = go(lab, "host-a", "--datastore", "local")
        traffic.mark("back")
        clients = {client.name: client for client in traffic.stop().clients}
    counted = json.loads(probe.end().out)
    lab.wait_tidy()
    assert files(lab) == AT_A
    assert lab.where_it_runs("web") == ("host-a",)

    lab.demand("vm", "stop", "web", "--grace", "0s")
    assert_whole(lab, clients["records"].last_record)
    assert [report.kind for report in (there, aside, back)] == [Kind.live, Kind.storage, Kind.live]
    assert all(each.survived and each.verified and not each.error for each in clients.values())
    assert clients["records"].last_record > 100
    assert (counted["lost"], counted["sent"] > 1000) == (0, True)
    for report in (there, aside, back):
        copied = {disk.disk: disk for disk in report.disks}
        assert copied["journal"].copied_bytes >= 32 << 20
        assert copied["data"].skipped_bytes > 30 << 20, "zeros are not sent"
    assert there.blackout_ms is not None
    assert "the copies of its disks are complete" in [entry.event for entry in there.timeline]


def test_a_vm_that_is_off_goes_cold_and_may_only_be_started_where_it_is(lab: Scenario) -> None:
    """After the test before this one it is off, on host-a."""
    before = [blocks(lab, name) for name in ("journal", "data")]

    report = go(lab, "host-b", "--cold", "--datastore", "local", "--format", "qcow2")

    assert (report.kind, report.outcome, report.blackout_ms) == (Kind.cold, "done", None)
    vm = lab.client.vm("web")
    assert (vm.state, vm.host) == (VmState.stopped, "host-b")
    assert files(lab) == ["host-b/data.qcow2", "host-b/journal.qcow2"]
    assert [blocks(lab, name) for name in ("journal", "data")] == before
    lab.wait_tidy()


def test_a_cold_move_of_a_vm_that_runs_asks_and_starts_it_there(lab: Scenario) -> None:
    lab.demand("vm", "start", "web")
    lab.wait_ready("web")
    done = lab.run("migrate", "web", "host-a", "--cold", "--datastore", "local")
    assert (done.status, "--yes lets it be shut down" in done.err) == (2, True)

    report = go(lab, "host-a", "--cold", "--yes", "--datastore", "local", "--format", "raw")

    assert report.outcome == "done"
    assert lab.client.vm("web").state is VmState.running
    assert lab.where_it_runs("web") == ("host-a",)
    assert files(lab) == ["host-a/data.raw", "host-a/journal.raw"]


def test_a_copy_goes_on_from_where_it_was_when_the_link_that_was_cut_is_mended(lab: Scenario) -> None:
    """Its VM runs, writes, and finds every record there; the agents and the manager are killed meanwhile too."""
    lab.wait_ready("web")
    with lab.traffic("web", kinds=("records",)) as traffic:
        moving = lab.begin("web", "host-b", "--datastore", "local", "--bandwidth", "80mbit")
        lab.fault("migration-link-down:host-b", on=True)
        assert any("stands still" in each.text for each in lab.client.events(moving.id))
        lab.fault("migration-link-down:host-b", on=False)
        lab.kill_daemon("host-a", "host-b", "manager")
        done, migration = moving.end()
        (records,) = traffic.stop().clients

    assert (migration.phase, done.status) == (Phase.done, 0), done
    assert (migration.attempt, records.survived, records.error) == (1, True, None)
    lab.wait_tidy()
    assert files(lab) == ["host-b/data.raw", "host-b/journal.raw"]
    lab.demand("vm", "stop", "web", "--grace", "0s")
    assert_whole(lab, records.last_record)

"""A VM goes there and back while four clients talk to it; and what is refused is refused before anything is touched."""

from __future__ import annotations

import pytest

from godwit.core.report import Report
from godwit.lab.scenario import Scenario
from godwit.lab.traffic_result import TrafficResult

pytestmark = pytest.mark.lab

HOSTS = ("host-a", "host-b")


def at_ms(report: Report, event: str) -> float:
    """When that happened, which it did exactly once."""
    found = [entry.at_ms for entry in report.timeline if entry.event == event]
    assert len(found) == 1, f"{event!r} is there {len(found)} times: {report.timeline}"
    return found[0]


def assert_done(report: Report, source: str, destination: str) -> None:
    assert (report.outcome, report.error) == ("done", None)
    assert (report.vm, report.source, report.destination) == ("web", source, destination)
    assert report.blackout_ms is not None
    assert 0 < report.blackout_ms < report.total_ms
    assert report.forecast.blackout_ms is not None
    assert report.forecast.blackout_ms > 0
    assert report.clock_error_ms is not None
    assert report.clock_error_ms >= 0
    assert report.transferred_bytes > 0
    numbers = [each.number for each in report.passes]
    assert numbers == sorted(set(numbers))
    assert len(numbers) >= 1
    assert report.network.announcements
    assert all(each.at_ms >= report.blackout_ms for each in report.network.announcements), "not before RESUME"


def assert_ordered(report: Report) -> None:
    stopped = at_ms(report, "vCPUs stopped at the source")
    loaded = at_ms(report, "loaded at the destination")
    resumed = at_ms(report, "vCPUs run at the destination")
    error_ms = report.clock_error_ms or 0
    assert stopped == 0, "the timeline's zero"
    assert stopped - error_ms <= loaded <= resumed
    assert resumed == pytest.approx(report.blackout_ms, abs=0.01)
    assert [entry.at_ms for entry in report.timeline] == sorted(entry.at_ms for entry in report.timeline)


def assert_unharmed(result: TrafficResult, *, marks: int) -> None:
    for client in result.clients:
        assert (client.survived, client.verified, client.error) == (True, True, None), client.name
        assert [window.operations > 0 for window in client.windows[1:]] == [True] * marks


def test_there_and_back_under_four_clients(lab: Scenario) -> None:
    with lab.traffic("web", kinds=("all",)) as traffic:
        traffic.mark("there")
        there = lab.migrate("web", "host-b")
        assert lab.where_it_runs("web") == ("host-b",)
        lab.wait_tidy()
        traffic.mark("back")
        back = lab.migrate("web", "host-a")
        result = traffic.stop()

    assert lab.where_it_runs("web") == ("host-a",)
    lab.wait_tidy()
    assert_done(there, "host-a", "host-b")
    assert_done(back, "host-b", "host-a")
    for report in (there, back):
        assert_ordered(report)
    assert {client.name for client in result.clients} == {"redis", "echo", "bulk", "ssh"}
    assert_unharmed(result, marks=2)


def untouched(lab: Scenario) -> tuple[object, ...]:
    migrations = [(each.id, each.phase) for each in lab.client.migrations()]
    return migrations, lab.client.vms(), lab.qemu_pid("web", "host-a")


def refused(lab: Scenario, *words: str) -> str:
    """What was said; nothing else happened, and it was said in one line."""
    lab.wait_tidy()  # a relay that goes would tell of itself meanwhile
    before = untouched(lab)
    done = lab.run("migrate", *words)
    assert (done.status, done.out) == (2, ""), done
    assert done.err.startswith("godwit: ")
    assert done.err.count("\n") == 1
    assert "Traceback" not in done.err
    assert untouched(lab) == before
    assert not any(lab.leftovers(host) for host in HOSTS if lab.client.host(host).reachable)
    return done.err


def test_an_unknown_vm_is_refused(lab: Scenario) -> None:
    assert "no VM 'nemo'" in refused(lab, "nemo", "host-b")


def test_an_unknown_host_is_refused(lab: Scenario) -> None:
    said = refused(lab, "web", "host-z")
    assert "'host-z'" in said
    assert "host-a, host-b" in said


def test_a_vm_is_not_moved_to_where_it_is(lab: Scenario) -> None:
    assert "runs on host-a already" in refused(lab, "web", "host-a")


def test_a_vm_that_is_too_large_for_the_destination_is_refused_with_numbers(lab: Scenario) -> None:
    facts = lab.client.host("host-b").facts
    assert facts is not None
    lab.create_vm("large", "host-b", memory_mib=facts.memory_free_mib - 100)
    try:
        said = refused(lab, "web", "host-b")
    finally:
        lab.delete_vm("large")
    assert f"100 MiB of {facts.memory_mib} MiB free" in said
    assert "needs 256 MiB" in said


def test_a_destination_that_does_not_answer_is_refused(lab: Scenario) -> None:
    lab.stop_daemon("host-b")
    said = refused(lab, "web", "host-b")
    assert "host-b" in said
    assert "nothing was moved" in said


def test_a_vm_that_is_being_moved_is_not_moved_again(lab: Scenario) -> None:
    moving = lab.begin("web", "host-b", "--bandwidth", "20mbit")
    again = lab.run("migrate", "web", "host-b")
    assert (again.status, again.out) == (2, "")
    assert f"moved already by migration {moving.id}" in again.err
    assert again.err.count("\n") == 1
    assert [each.id for each in lab.client.migrations() if not each.is_ended] == [moving.id], "and goes on"
    lab.demand("migration", "cancel", moving.id)
    assert moving.end()[0].status == 130
    lab.wait_tidy()

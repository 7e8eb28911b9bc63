"""Each fault of the lab's networks: found before, by asking or by moving a throw-away VM; its connections carried past
it where that can be done; and named after, from captures alone."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from godwit.lab.recording import AT_SOURCE, EXPECTED, LARGE_BYTES, VISIBLE_AT, Case, moved
from godwit.lab.scenario import Scenario, wait_until

pytestmark = [pytest.mark.lab, pytest.mark.acceptance]

OF_THE_MACHINE = {"guest-agent-absent", "host-overloaded", "memory-swapped", "link-slow"}
FOUND_BY = {
    "vlan-mismatch": ("check", "network-unreachable"),
    "mtu-mismatch": ("check", "network-mtu"),
    "teaming-mismatch": ("check", "network-reflected"),
    "slow-link": ("check", "link-slow"),
    "announcements-blocked": ("rehearse", "rehearsal-unwitnessed"),
    "port-security": ("rehearse", "rehearsal-unwitnessed"),
    "stale-mac": ("rehearse", "rehearsal-unlearned"),
}
"""By fault: the command, and the code of what it finds."""
CUT_OFF = {"vlan-mismatch", "port-security"}
"""Nothing that the VM sends at its new place gets out of there: no relay helps."""
STOOD_STILL = {("slow-link", "long-silence"), ("slow-link", "connection-stalled")}
"""A busy machine and a slow link may hold the VM up for a second, which is no fault of its network."""
FAULTS = sorted({*FOUND_BY, *EXPECTED})
ANSWERED_S = 3.0
"""A connection that was answered so lately lives; the dead ones have been silent for seven seconds."""


@pytest.fixture(scope="module")
def lab() -> Iterator[Scenario]:
    with tempfile.TemporaryDirectory(prefix="gw") as directory, Scenario(Path(directory)) as scenario:
        scenario.create_vm("web", "host-a")
        scenario.wait_ready("web")
        yield scenario


def other(lab: Scenario) -> str:
    here = lab.where_it_runs("web")[0]
    return next(host for host in lab.settings.host_names if host != here)


def place(lab: Scenario, fault: str) -> str:
    return lab.where_it_runs("web")[0] if fault in AT_SOURCE else other(lab)


def found(lab: Scenario, command: str, wanted: str | None = None) -> set[str]:
    done = lab.run(command, "web", other(lab), "--json")
    assert done.status in {0, 2}, done
    return {each["code"] for each in json.loads(done.out)["findings"]} - (OF_THE_MACHINE - {wanted})


@pytest.mark.parametrize("fault", FOUND_BY)
def test_a_fault_is_found_before_and_named_alone(lab: Scenario, fault: str) -> None:
    command, code = FOUND_BY[fault]
    lab.fault(f"{fault}:{place(lab, fault)}", on=True)
    try:
        assert found(lab, command, code) == {code}
    finally:
        lab.mend()
    assert found(lab, command) == set(), "and it is gone with its cause"
    lab.wait_tidy()


@pytest.mark.parametrize("fault", FAULTS)
def test_under_it_connections_live_where_they_can_and_captures_name_it_alone(
    lab: Scenario, fault: str, tmp_path: Path
) -> None:
    size = LARGE_BYTES if fault == "mtu-mismatch" else 30
    places = VISIBLE_AT.get(fault, (("client", "host-a", "host-b"),))[0]
    try:
        recorded = moved(lab, Case(fault, fault, size=size, places=places), tmp_path)
    finally:
        lab.mend()

    said = lab.run("doctor", *(f"--capture={tmp_path / each}" for each in recorded.files), "--json")
    codes = [each["code"] for each in json.loads(said.out)["findings"] if (fault, each["code"]) not in STOOD_STILL]
    assert codes == ([EXPECTED[fault]] if fault in EXPECTED else []), said.out
    alive = [age_s < ANSWERED_S for age_s in recorded.unanswered_s]
    assert [all(alive[:1]), all(alive[1:])] == expected_to_live(fault), recorded.unanswered_s
    wait_until("it is told", lambda: lab.client.report(recorded.report.id).connections is not None)
    told = lab.client.report(recorded.report.id).connections or ()
    assert lab.client.report(recorded.report.id).saw_all
    assert not sum(each.resets for each in told)
    if fault != "mtu-mismatch":  # of large requests that are lost on their way the VM cannot know
        assert {each.survived for each in told} == {fault not in CUT_OFF}
    lab.wait_tidy()
    lab.wait_ready("web")


def expected_to_live(fault: str) -> list[bool]:
    """The first connection, whose requests are too large where the MTU is smaller, and the others."""
    return [fault not in CUT_OFF | {"mtu-mismatch"}, fault not in CUT_OFF]

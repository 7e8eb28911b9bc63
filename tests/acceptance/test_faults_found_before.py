"""Each fault of the lab's networks is found before a VM moves under it: by asking, or by moving a throw-away one."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from godwit.lab.scenario import Scenario

pytestmark = [pytest.mark.lab, pytest.mark.acceptance]

OF_THE_MACHINE = {"guest-agent-absent", "host-overloaded", "memory-swapped", "link-slow"}


@pytest.fixture(scope="module")
def lab() -> Iterator[Scenario]:
    with tempfile.TemporaryDirectory(prefix="gw") as directory, Scenario(Path(directory)) as scenario:
        scenario.create_vm("web", "host-a")
        scenario.wait_ready("web")
        yield scenario


def found(lab: Scenario, command: str, wanted: str | None = None) -> set[str]:
    done = lab.run(command, "web", "host-b", "--json")
    assert done.status in {0, 2}, done
    return {each["code"] for each in json.loads(done.out)["findings"]} - (OF_THE_MACHINE - {wanted})


@pytest.mark.parametrize(
    ("fault", "command", "code"),
    [
        ("vlan-mismatch:host-b", "check", "network-unreachable"),
        ("mtu-mismatch:host-b", "check", "network-mtu"),
        ("slow-link:host-b", "check", "link-slow"),
        ("announcements-blocked:host-b", "rehearse", "rehearsal-unwitnessed"),
        ("port-security:host-b", "rehearse", "rehearsal-unwitnessed"),
        ("stale-mac:host-a", "rehearse", "rehearsal-unlearned"),
    ],
)
def test_a_fault_is_found_and_named_alone(lab: Scenario, fault: str, command: str, code: str) -> None:
    lab.fault(fault, on=True)
    try:
        assert found(lab, command, code) == {code}
    finally:
        lab.fault(fault, on=False)
    assert found(lab, command) == set(), "and it is gone with its cause"
    lab.wait_tidy()

"""What would keep a VM from moving is found before: by a question, and by a throw-away VM that is really moved."""

from __future__ import annotations

import json
from typing import Any

import pytest

from godwit.lab.scenario import Done, Scenario

pytestmark = pytest.mark.lab

HARMLESS = {"guest-agent-absent", "host-overloaded", "memory-swapped", "link-slow"}
"""What may be found on a machine that is busy with tests, in a guest without an agent."""


def told(done: Done, *, status: int) -> dict[str, Any]:
    assert done.status == status, done
    return dict(json.loads(done.out))


def codes(answer: dict[str, Any]) -> set[str]:
    return {each["code"] for each in answer["findings"]} - HARMLESS


def test_a_check_passes_and_finds_a_network_that_is_not_one(lab: Scenario) -> None:
    there = told(lab.run("check", "web", "host-b", "--json"), status=0)
    assert (there["movable"], codes(there)) == (True, set()), there

    lab.demand("lab", "exec", "lan-switch", "--", "ip", "link", "set", "host-b", "down")
    try:
        cut = told(lab.run("check", "web", "host-b", "--json"), status=2)
        refused = lab.run("migrate", "web", "host-b")
    finally:
        lab.demand("lab", "exec", "lan-switch", "--", "ip", "link", "set", "host-b", "up")
    assert codes(cut) == {"network-unreachable"}
    assert refused.status == 2
    assert "network lan of host-a and of host-b is not the same layer 2 segment" in refused.err
    assert lab.where_it_runs("web") == ("host-a",)
    assert "to host-b:" in lab.demand("vm", "show", "web")


def test_a_rehearsal_moves_a_vm_of_its_own(lab: Scenario) -> None:
    before = lab.client.vm("web"), lab.qemu_pid("web", "host-a")

    rehearsal = told(lab.run("rehearse", "web", "host-b", "--json"), status=0)
    assert rehearsal["passed"], rehearsal
    assert codes(rehearsal) == set()
    assert 0 < rehearsal["blackout_ms"] < rehearsal["total_ms"]
    assert rehearsal["network"]["learned_at_ms"] is not None
    assert (lab.client.vm("web"), lab.qemu_pid("web", "host-a")) == before
    lab.wait_tidy()

    lab.fault("announcements-blocked:host-b", on=True)
    deaf = told(lab.run("rehearse", "web", "host-b", "--json"), status=2)
    lab.fault("announcements-blocked:host-b", on=False)
    assert codes(deaf) == {"rehearsal-unwitnessed"}
    assert [vm.name for vm in lab.client.vms()] == ["web"]
    lab.wait_tidy()

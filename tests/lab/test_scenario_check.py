"""What would keep a VM from moving is found before: by a question, and by a throw-away VM that is really moved."""

from __future__ import annotations

import json
from typing import Any

import pytest

from godwit.core.guest import Heed, Moment
from godwit.lab.image import default_cache, ensure_image
from godwit.lab.scenario import Done, Running, Scenario, wait_until
from godwit.lab.traffic_ssh import ssh_argv

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


HOOK = "mkdir -p /etc/godwit; printf '#!/bin/sh\\necho $* >>/run/moves' >/etc/godwit/move-hook; chmod +x /etc/godwit/*"


def in_guest(lab: Scenario, command: str) -> str:
    nic = lab.client.vm("web").nics[0]
    assert nic.ip is not None
    key = ensure_image("base", cache=default_cache(), progress=lambda _: None) / "id_ed25519"
    words = [*lab.look().node("client").enter, *ssh_argv(str(nic.ip.ip), 22, key)[:-1], command]
    done = Running(words).end()
    assert done.status == 0, done
    return done.out


def test_a_guest_is_told_of_its_move(lab: Scenario) -> None:
    here = lab.where_it_runs("web")[0]
    there = {"host-a": "host-b", "host-b": "host-a"}[here]
    in_guest(lab, HOOK)

    moved = lab.migrate("web", there, "--notify", "20s")
    wait_until("it was told of its end", lambda: len(lab.client.report(moved.id).notices) == 2)
    report = lab.client.report(moved.id)

    assert [(each.moment, each.heed) for each in report.notices] == [
        (Moment.before, Heed.heeded),
        (Moment.after, Heed.heeded),
    ], report
    assert in_guest(lab, "cat /run/moves").splitlines() == [f"before {here} {there}", f"after {here} {there}"]
    lab.wait_tidy()

"""A host is drained under clients, shown as such, and taken back: every VM leaves once, and no connection breaks."""

from __future__ import annotations

import pytest

from godwit.lab.scenario import Scenario

pytestmark = pytest.mark.lab


def test_two_vms_leave_a_host_and_come_back(lab: Scenario) -> None:
    lab.create_vm("two", "host-a", memory_mib=128)
    with lab.traffic("web") as traffic:
        plan = lab.run("host", "drain", "host-a")
        assert (plan.status, lab.where_it_runs("web")) == (2, ("host-a",)), "shown, and not begun without --yes"
        assert [line.split()[-2:] for line in plan.out.splitlines()[1:]] == [["host-b", "-"]] * 2
        drained = lab.demand("host", "drain", "host-a", "--yes")
        assert drained.splitlines()[-1] == "host-a is empty, and takes no VMs until `godwit host activate host-a`"
        assert {host.name: host.draining for host in lab.client.hosts()} == {"host-a": True, "host-b": False}
        refused = lab.run("migrate", "web,two", "host-a")
        assert (refused.status, "host-a is being drained" in refused.err) == (2, True)
        lab.demand("host", "activate", "host-a")
        back = lab.demand("migrate", "web,two", "host-a", "--parallel", "2")
        assert [line.split()[:2] for line in back.splitlines()[-2:]] == [["web", "moved"], ["two", "moved"]]
        clients = traffic.stop().clients
    assert [(each.survived, each.verified, each.error) for each in clients] == [(True, True, None)] * 2
    assert {vm: lab.where_it_runs(vm) for vm in ("web", "two")} == dict.fromkeys(("web", "two"), ("host-a",))
    lab.delete_vm("two")
    lab.wait_tidy()

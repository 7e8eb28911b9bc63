"""Agents, keepers and the manager are killed while a VM runs: it never notices, and it can be moved afterwards."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from godwit.core.model import VmState
from godwit.lab.scenario import Scenario, kill, wait_until

pytestmark = pytest.mark.lab


def kill_agent(lab: Scenario) -> None:
    lab.kill_daemon("host-a")


def kill_manager(lab: Scenario) -> None:
    lab.kill_daemon("manager")


def kill_keeper(lab: Scenario) -> None:
    victim = lab.keeper_pid("web", "host-a")
    kill(victim)
    wait_until("web has a new keeper", lambda: victim not in keepers(lab) and len(keepers(lab)) == 1)


def kill_agent_and_keeper(lab: Scenario) -> None:
    """Nobody is there to see the keeper die."""
    lab.stop_daemon("host-a")
    kill(lab.keeper_pid("web", "host-a"))
    lab.mend()


def keepers(lab: Scenario) -> list[int]:
    return [each.pid for each in lab.look().node("host-a").keepers if each.vm == "web"]


@pytest.fixture
def lab_at_home(lab: Scenario) -> Scenario:
    """`web` runs on host-a."""
    if lab.client.vm("web").host != "host-a":
        lab.migrate("web", "host-a")
    return lab


@pytest.mark.parametrize("strike", [kill_agent, kill_keeper, kill_agent_and_keeper, kill_manager])
def test_a_running_vm_is_not_disturbed(lab_at_home: Scenario, strike: Callable[[Scenario], None]) -> None:
    lab = lab_at_home
    qemu = lab.qemu_pid("web", "host-a")
    with lab.traffic("web") as traffic:
        strike(lab)
        lab.wait_answering()
        traffic.mark("struck")
        vm, keeper = lab.client.vm("web"), lab.keeper_pid("web", "host-a")
        assert (vm.state, vm.host, lab.qemu_pid("web", "host-a")) == (VmState.running, "host-a", qemu)
        facts = lab.client.host("host-a").facts
        assert facts is not None
        assert [(each.name, each.state, each.owned) for each in facts.vms] == [("web", VmState.running, True)]

        report = lab.migrate("web", "host-b")
        result = traffic.stop()

    assert report.outcome == "done"
    assert keeper != qemu
    assert [(each.name, each.survived, each.verified) for each in result.clients] == [
        ("redis", True, True),
        ("echo", True, True),
    ]
    assert all(each.windows[-1].operations for each in result.clients)
    assert lab.where_it_runs("web") == ("host-b",)
    lab.wait_tidy()

"""The same on hosts with Open vSwitch: the points are thrown back, the port outlives the agents, nothing is left."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from tests.lab.network import needs_open_vswitch
from tests.torture.cases import Case, Rig, run
from tests.torture.rig import torture_rig

from godwit.lab.settings import Settings, SwitchKind

pytestmark = [pytest.mark.lab, pytest.mark.acceptance, pytest.mark.timeout(900), needs_open_vswitch]

SETTINGS = Settings(bridges={"host-a": SwitchKind.ovs, "host-b": SwitchKind.ovs})
CASES = (
    Case("destination-qemu", "destination", "journal hold written"),  # after the switch-over: the VM goes on at home
    Case("migration-link", "source", "qmp migrate after"),
    Case("source-agent", "source", "journal offer synced"),
    Case("both-agents", "source", "ask go after"),
    Case("destination-agent", "destination", "journal conting synced"),
)


@pytest.fixture(scope="module")
def rig() -> Iterator[Rig]:
    with torture_rig(settings=SETTINGS) as rig:
        yield rig


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.victim} at {case.point}")
def test_struck(case: Case, rig: Rig) -> None:
    outcome = run(rig, case)

    assert outcome.problems == [], outcome
    assert "not reached" not in outcome.outcome

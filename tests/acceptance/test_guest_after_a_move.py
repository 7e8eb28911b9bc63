"""What is found out about a guest at its new place, by asking its agent."""

from __future__ import annotations

import tempfile
from pathlib import Path

import pytest

from godwit.core.report import Report
from godwit.lab.scenario import Scenario, wait_until

pytestmark = [pytest.mark.lab, pytest.mark.acceptance]

MOVES = 4
"""On a busy machine a guest agent may answer too late once."""


def settled(lab: Scenario, host: str) -> Report:
    id = lab.migrate("web", host, "--max-blackout", "5s").id
    wait_until(f"{id} is settled", lambda: lab.client.migration(id).settled)
    return lab.client.report(id)


def test_its_agent_answers_and_its_clock_is_right() -> None:
    with tempfile.TemporaryDirectory(prefix="gw") as directory, Scenario(Path(directory)) as lab:
        lab.create_vm("web", "host-a")
        lab.wait_ready("web")
        reports = [settled(lab, f"host-{'ba'[number % 2]}") for number in range(MOVES)]

    assert all(each.pulse and each.pulse.complaint is None for each in reports), reports
    clocks = [each.guest_clock for each in reports if each.guest_clock]
    assert clocks, reports
    for each in clocks:
        assert each.skew_ms is not None
    print([each.model_dump() for each in clocks])

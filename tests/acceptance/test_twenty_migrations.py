"""Twenty moves in a row, back and forth, under clients that never connect twice."""

from __future__ import annotations

import tempfile
from pathlib import Path

import pytest

from godwit.lab.scenario import Scenario

pytestmark = [pytest.mark.lab, pytest.mark.acceptance, pytest.mark.timeout(900)]

MOVES = 20


def test_twenty_migrations_lose_no_connection() -> None:
    with tempfile.TemporaryDirectory(prefix="gw") as directory, Scenario(Path(directory)) as lab:
        lab.create_vm("web", "host-a")
        lab.wait_ready("web")

        with lab.traffic("web", kinds=("all",)) as traffic:
            reports = [lab.migrate("web", f"host-{'ab'[(number + 1) % 2]}") for number in range(MOVES)]
            clients = traffic.stop().clients

        assert [report.outcome for report in reports] == ["done"] * MOVES
        assert [(each.name, each.survived, each.verified) for each in clients] == [
            (each.name, True, True) for each in clients
        ]
        assert len(clients) == 4
        lab.wait_tidy()

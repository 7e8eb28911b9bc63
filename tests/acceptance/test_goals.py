"""Goals that are met by slowing a guest down, or refused before anything is touched; and what is never refused."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from benchmarks.forecast import writing

from godwit.core.report import DryRun, Report
from godwit.lab.scenario import Scenario
from godwit.lab.settings import Settings

pytestmark = [pytest.mark.lab, pytest.mark.acceptance]

DEADLINE_S = 45
TOO_FAST = (120, 96)
"""MB each second, and within how many: more than the link carries."""


@pytest.fixture(scope="module")
def lab() -> Iterator[Scenario]:
    with tempfile.TemporaryDirectory(prefix="gw") as name, Scenario(Path(name), Settings(rate="400mbit")) as scenario:
        scenario.create_vm("web", "host-a")
        scenario.wait_ready("web")
        yield scenario


def test_a_guest_that_dirties_faster_than_the_link_meets_its_deadline_or_is_refused(lab: Scenario) -> None:
    with writing(lab, *TOO_FAST):
        done = lab.run("migrate", "web", "host-b", "--json", "--deadline", f"{DEADLINE_S}s", "--max-blackout", "250ms")

    if done.status == 2:
        assert f"--deadline {DEADLINE_S} s" in done.err
        assert lab.where_it_runs("web") == ("host-a",)
        return
    assert done.status == 0, done
    report = Report.model_validate_json(done.out)
    assert report.total_ms < DEADLINE_S * 1000
    assert max(each.throttle_percent for each in report.passes) > 1, "it was slowed down"
    assert lab.where_it_runs("web") == ("host-b",)


def test_what_cannot_be_met_is_refused_with_numbers_and_a_dry_run_touches_nothing(lab: Scenario) -> None:
    here = lab.client.vm("web").host
    assert here
    there = {"host-a": "host-b", "host-b": "host-a"}[here]

    told = DryRun.model_validate_json(lab.demand("migrate", "web", there, "--dry-run", "--json"))
    hopeless = lab.run("migrate", "web", there, "--deadline", "1s")
    too_short = lab.run("migrate", "web", there, "--max-blackout", "1ms")

    assert (told.source, told.destination) == (here, there)
    assert told.forecast.total_ms
    for done, word in ((hopeless, "--deadline 1 s: it needs"), (too_short, "--max-blackout 1 ms")):
        assert done.status == 2
        assert word in done.err
    assert lab.where_it_runs("web") == (here,)

"""Captures of real moves in the lab: each fault is named, alone, and a healthy move has no finding.

They are split: rules were made with the ones to develop on in view. The ones that judge were drawn by a seed
(`godwit.lab.recording.judges`) and recorded when the rules were finished; their first judgment was 24 of 24 faulty and
24 of 24 healthy ones right, and no rule was changed because of them. Whoever changes a rule from now on fits it to
the ones to develop on, and has new ones drawn by another seed if those that judge have been looked at.
"""

from __future__ import annotations

import json
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from godwit.diagnosis.diagnose import diagnose
from godwit.diagnosis.finding import Diagnosis
from godwit.diagnosis.gather import Source
from godwit.lab.recording import judges

CAPTURES = Path(__file__).with_name("captures")
CASES: dict[str, dict[str, Any]] = json.loads((CAPTURES / "cases.json").read_text())
FAULTY = sorted(name for name, case in CASES.items() if case["finding"])
HEALTHY = sorted(CASES.keys() - set(FAULTY))
JUDGES = {name for name, case in CASES.items() if case.get("judges")}


def shown(names: list[str]) -> list[Any]:
    """With the half to which each belongs."""
    return [pytest.param(name, id=f"{name}-{'judges' if name in JUDGES else 'develop'}") for name in names]


def read(name: str, *nodes: str) -> Diagnosis:
    """What is said of those captures of that case, or of all."""
    with ExitStack() as stack:
        files = [each for each in CASES[name]["files"] if not nodes or each.split(".")[1] in nodes]
        return diagnose([Source(each, stack.enter_context((CAPTURES / each).open("rb"))) for each in files])


def codes(diagnosis: Diagnosis) -> list[str]:
    return [each.code for each in diagnosis.findings]


@pytest.mark.parametrize("name", shown(FAULTY))
def test_the_fault_is_named_and_nothing_else(name: str) -> None:
    diagnosis = read(name)

    assert codes(diagnosis) == [CASES[name]["finding"]]
    assert diagnosis.problems == ()
    assert diagnosis.findings[0].evidence


@pytest.mark.parametrize("name", shown(HEALTHY))
def test_a_healthy_move_has_no_finding(name: str) -> None:
    diagnosis = read(name)

    assert codes(diagnosis) == []
    assert diagnosis.vms[0].moves


@pytest.mark.parametrize("name", shown(HEALTHY))
def test_nor_has_any_capture_of_it_alone(name: str) -> None:
    for file in CASES[name]["files"]:
        assert codes(read(name, file.split(".")[1])) == [], file


def test_there_are_enough_in_each_half_under_load_too_and_they_are_small() -> None:
    drawn = {each.name: each for each in judges()}
    assert drawn.keys() == JUDGES
    assert all((case.fault, case.switch) == (CASES[n]["fault"], CASES[n]["switch"]) for n, case in drawn.items())
    for half in (JUDGES, CASES.keys() - JUDGES):
        assert len(half & set(FAULTY)) >= 20
        assert len(half & set(HEALTHY)) >= 20
    assert sum(CASES[name]["load"] for name in JUDGES) >= 20
    assert all(file.stat().st_size < 100_000 for file in CAPTURES.glob("*.pcap.gz"))

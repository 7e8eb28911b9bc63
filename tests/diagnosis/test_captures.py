"""Captures of real moves in the lab: each fault is named, alone, and a healthy move has no finding.

A seed splits them for whoever changes a rule: fit it to the ones to develop on, and let the others judge. (While the
first rules were made, all of them were looked at.)
"""

from __future__ import annotations

import json
import random
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from godwit.diagnosis.diagnose import diagnose
from godwit.diagnosis.finding import Diagnosis
from godwit.diagnosis.gather import Source

CAPTURES = Path(__file__).with_name("captures")
CASES: dict[str, dict[str, Any]] = json.loads((CAPTURES / "cases.json").read_text())
SEED = 8
FAULTY = sorted(name for name, case in CASES.items() if case["finding"])
HEALTHY = sorted(CASES.keys() - set(FAULTY))
DEVELOP = set(random.Random(SEED).sample(FAULTY, len(FAULTY) // 2))
"""The faulty captures to fit rules to."""


def read(name: str, *nodes: str) -> Diagnosis:
    """What is said of those captures of that case, or of all."""
    with ExitStack() as stack:
        files = [each for each in CASES[name]["files"] if not nodes or each.split(".")[-2] in nodes]
        return diagnose([Source(each, stack.enter_context((CAPTURES / each).open("rb"))) for each in files])


def codes(diagnosis: Diagnosis) -> list[str]:
    return [each.code for each in diagnosis.findings]


@pytest.mark.parametrize("name", [pytest.param(n, id=f"{n}-{'develop' if n in DEVELOP else 'judge'}") for n in FAULTY])
def test_the_fault_is_named_and_nothing_else(name: str) -> None:
    diagnosis = read(name)

    assert codes(diagnosis) == [CASES[name]["finding"]]
    assert diagnosis.problems == ()
    assert diagnosis.findings[0].evidence


@pytest.mark.parametrize("name", HEALTHY)
def test_a_healthy_move_has_no_finding(name: str) -> None:
    diagnosis = read(name)

    assert codes(diagnosis) == []
    assert diagnosis.vms[0].moves


@pytest.mark.parametrize("name", HEALTHY)
def test_nor_has_any_capture_of_it_alone(name: str) -> None:
    for file in CASES[name]["files"]:
        assert codes(read(name, file.split(".")[-2])) == [], file


def test_there_are_enough_and_they_are_small() -> None:
    assert len(FAULTY) >= 20
    assert len(HEALTHY) >= 20
    assert all(file.stat().st_size < 100_000 for file in CAPTURES.glob("*.pcap"))

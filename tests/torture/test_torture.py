"""Every process and every link is struck in the middle of a hand-over: exactly one copy runs, and nothing is lost."""

from __future__ import annotations

import os
import random
import time
from collections.abc import Iterator
from contextlib import ExitStack

import pytest
from tests.torture.cases import VICTIMS, Case, Rig, drawn, matrix, run
from tests.torture.rig import torture_rig

pytestmark = pytest.mark.lab

FIXED = (
    Case("source-agent", "source", "journal offer synced"),
    Case("source-agent", "source", "journal given written"),
    Case("destination-agent", "destination", "journal conting synced"),
    Case("both-agents", "source", "ask go after"),
    Case("source-qemu", "source", "journal given written"),
    Case("destination-qemu", "destination", "journal hold written"),
    Case("source-keeper", "source", "qmp migrate after"),
    Case("destination-keeper", "destination", "qmp cont before"),
    Case("manager", "manager", "phase handing-over after"),
    Case("agent-link", "source", "ask go before"),
    Case("migration-link", "source", "qmp migrate after"),
    Case("control-link", "source", "serve hand_over before"),
)
DRAWN = 3


class Rigs:
    """One rig for all, and another after a case that went wrong."""

    def __init__(self) -> None:
        self._stack = ExitStack()
        self._rig: Rig | None = None

    def get(self) -> Rig:
        self._rig = self._rig or self._stack.enter_context(torture_rig())
        return self._rig

    def end(self) -> None:
        self._rig = None
        self._stack.close()


@pytest.fixture(scope="module")
def rigs() -> Iterator[Rigs]:
    rigs = Rigs()
    yield rigs
    rigs.end()


def assert_survived(rigs: Rigs, case: Case) -> None:
    outcome = run(rigs.get(), case)
    if outcome.problems or "not reached" in outcome.outcome:
        rigs.end()
    assert outcome.problems == [], (case, outcome)
    assert "not reached" not in outcome.outcome, (case, outcome)


def test_every_victim_is_among_them() -> None:
    assert {case.victim for case in FIXED} == set(VICTIMS)


@pytest.mark.parametrize("case", FIXED, ids=lambda case: f"{case.victim} at {case.point}")
def test_fixed(case: Case, rigs: Rigs) -> None:
    assert_survived(rigs, case)


def test_drawn(rigs: Rigs) -> None:
    """Others each time; `make torture CASES=N SEED=S` repeats any of them."""
    seed = int(os.environ.get("SEED") or random.Random(time.time_ns()).randrange(10_000))
    for case in drawn(matrix(rigs.get().record()), DRAWN, seed):
        outcome = run(rigs.get(), case)
        assert outcome.problems == [], (seed, case, outcome)

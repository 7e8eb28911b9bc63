"""Every process and every link is struck in the middle of a hand-over: exactly one copy runs, and nothing is lost."""

from __future__ import annotations

import fcntl
import os
import random
import struct
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest
from tests.torture.cases import ALIVE_S, VICTIMS, Case, Rig, armed, drawn, matrix, run
from tests.torture.guest import disk_path
from tests.torture.rig import torture_rig
from tests.torture.watch import doubled

from godwit.core.phase import Phase
from godwit.lab.scenario import wait_until

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
F_OFD_SETLK = 37
UNSHARED_WRITE_BYTE = 201
"""By QEMU's block/file-posix.c: 200 and the number of the permission that is not shared."""


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


@pytest.mark.acceptance  # others each time: what fails here may have nothing to do with what was changed
def test_drawn(rigs: Rigs) -> None:
    """Others each time; `make torture CASES=N SEED=S` repeats any of them."""
    seed = int(os.environ.get("SEED") or random.Random(time.time_ns()).randrange(10_000))
    for case in drawn(matrix(rigs.get().record()), DRAWN, seed):
        outcome = run(rigs.get(), case)
        assert outcome.problems == [], (seed, case, outcome)


@contextmanager
def write_locked(disk: Path) -> Iterator[None]:
    """As by a QEMU that shares the disk with no other writer: an open file description's lock on its byte for that."""
    with open(disk, "rb") as file:
        lock = struct.pack("hhqqi4x", fcntl.F_RDLCK, os.SEEK_SET, UNSHARED_WRITE_BYTE, 1, 0)
        fcntl.fcntl(file, F_OFD_SETLK, lock)
        yield


def test_a_disk_that_somebody_holds_is_an_alarm_and_never_forced(rigs: Rigs) -> None:
    rig = rigs.get()
    source, destination = rig.home, rig.other(rig.home)
    since = len(rig.beacon.beats)  # a VM that an earlier case killed began to count anew
    log = rig.lab.lab.data_dir / "logs" / f"{destination}.log"
    told_before = len(log.read_text())  # an earlier case may have killed a QEMU that was to go on
    with ExitStack() as held, armed(rig.directory, destination, "qmp cont before") as wait:
        migration = rig.migrate()
        line = wait()
        assert line is not None
        held.enter_context(write_locked(disk_path(rig.lab, "web")))
        line.close()
        wait_until("the alarm is told", lambda: "may not go on" in log.read_text()[told_before:])
        told = log.read_text()[told_before:]
        assert "Failed to get" in told  # a lock, in QEMU's words
        assert f"{disk_path(rig.lab, 'web')} is open in " in told
        assert rig.beacon.ports() <= {source}
        held.close()
    assert rig.wait_ended(migration.id).phase is Phase.done
    assert rig.writer is not None
    assert rig.writer.is_alive(ALIVE_S)
    assert doubled(rig.beacon.beats[since:]) == []

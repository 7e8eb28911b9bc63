"""A daemon that was started is waited for, if somebody can tell whether it answers."""

from __future__ import annotations

from pathlib import Path

import pytest

from godwit.core.resources import HostState
from godwit.lab import answering
from godwit.lab.control import Answer, DaemonState
from godwit.lab.places import Lab
from godwit.lab.settings import Settings

LAB = Lab("own", run_dir=Path("/nowhere"), data_dir=Path("/nowhere"))
WITH_MANAGER = {"manager": DaemonState(wanted=True)}


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[bool]:
    """What the manager says of host-b, time by time; of host-a it says that it does not answer."""
    told: list[bool] = []

    def hosts(_: Lab) -> list[HostState]:
        told.append(len(told) > 2)
        return [
            HostState(name=name, address="a:1", reachable=reachable)
            for name, reachable in (("host-a", False), ("host-b", told[-1]))
        ]

    monkeypatch.setattr(answering, "_hosts", hosts)
    monkeypatch.setattr(answering, "_starts", lambda _: {})
    monkeypatch.setattr(answering, "_PAUSE_S", 0.0)
    return told


def test_it_is_asked_until_it_answers_and_no_other_is(asked: list[bool]) -> None:
    answering.wait_answering_again(LAB, Settings(), "host-b", Answer(daemons=WITH_MANAGER))
    assert asked == [False, False, False, True]


def test_a_manager_answers_whatever_its_hosts_do(asked: list[bool]) -> None:
    answering.wait_answering_again(LAB, Settings(), "manager", Answer(daemons=WITH_MANAGER))
    assert asked == [False]


@pytest.mark.parametrize(
    "seen",
    [
        Answer(daemons={"manager": DaemonState(wanted=False)}),
        Answer(daemons=WITH_MANAGER, faults=("control-link-down:host-b",)),
        Answer(),
    ],
)
def test_nobody_waits_for_what_nobody_can_tell(seen: Answer, asked: list[bool]) -> None:
    answering.wait_answering_again(LAB, Settings(), "host-b", seen)
    assert asked == []

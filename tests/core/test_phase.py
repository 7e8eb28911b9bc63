"""The phase table: whole, and strict."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from godwit.core.errors import Broken
from godwit.core.phase import CANCELLABLE, DEADLINES_S, ENDED, STEPS, Phase, diagram, step

phases = st.sampled_from(Phase)


@given(phases, phases)
def test_a_step_is_in_the_table_or_raises(now: Phase, following: Phase) -> None:
    if following in STEPS[now]:
        assert step(now, following) == following
    else:
        with pytest.raises(Broken, match=f"from {now} to {following}"):
            step(now, following)


def test_every_phase_is_in_the_table_and_ended_ones_stay_ended() -> None:
    assert set(STEPS) == set(Phase)
    assert {phase for phase in Phase if not STEPS[phase]} == ENDED


def test_every_phase_that_works_has_a_deadline() -> None:
    assert set(DEADLINES_S) == set(Phase) - ENDED - {Phase.in_doubt}


def test_every_phase_can_be_reached_and_can_end() -> None:
    def reach(start: Phase) -> set[Phase]:
        seen, todo = {start}, [start]
        while todo:
            fresh = STEPS[todo.pop()] - seen
            seen |= fresh
            todo += fresh
        return seen

    assert reach(Phase.pending) == set(Phase)
    assert all(reach(phase) & ENDED for phase in Phase)


def test_what_can_be_cancelled_ends_cancelled_without_a_hand_over() -> None:
    for phase in CANCELLABLE:
        assert {Phase.cancelled, Phase.undoing} & STEPS[phase]
    assert Phase.handing_over not in CANCELLABLE


def test_the_diagram_shows_every_step() -> None:
    arrows = diagram().count(" --> ")

    assert arrows == sum(len(each) for each in STEPS.values()) + 1 + len(ENDED)

"""The table of ownership: what must never follow what."""

from __future__ import annotations

import itertools

import pytest

from godwit.core.errors import Broken
from godwit.core.ownership import OWNERS, TABLE, Act, Cue, Ownership, step

S, C, A = Ownership, Cue, Act


def test_the_success_path_of_the_source() -> None:
    state = S.own
    acts: list[Act] = []
    for cue in (C.offered, C.completed, C.answered_running):
        state, done = step(state, cue)
        acts += done

    assert state == S.done
    assert acts == [A.write_durable, A.start_sending, A.write, A.send_go, A.write_durable, A.quit_qemu]


@pytest.mark.parametrize("order", [(C.went, C.loaded), (C.loaded, C.went, C.loaded)])
def test_the_success_path_of_the_destination_whichever_comes_first(order: tuple[Cue, ...]) -> None:
    state = S.closed
    acts: list[Act] = []
    for cue in (C.armed, *order, C.resumed):
        state, done = step(state, cue)
        acts += done

    assert state == S.running
    assert acts.count(A.cont) == 1
    assert acts.index(A.commit_network) < acts.index(A.cont)
    assert acts[-2:] == [A.answer_running, A.announce]


def test_cont_is_issued_only_after_a_durable_record() -> None:
    for (_, _), (state, acts) in TABLE.items():
        if A.cont in acts:
            assert state in {S.reclaim, S.conting}
            assert acts.index(A.write_durable) < acts.index(A.cont)


def test_the_offer_is_durable_before_memory_is_sent() -> None:
    for (_, _), (state, acts) in TABLE.items():
        if A.start_sending in acts:
            assert state == S.offer
            assert acts.index(A.write_durable) < acts.index(A.start_sending)


def test_the_source_comes_back_from_given_only_by_an_answer() -> None:
    back = {cue for (state, cue), (following, _) in TABLE.items() if state == S.given and following in OWNERS}

    assert back == {C.answered_dead}


def test_a_destination_that_was_told_to_go_is_ended_only_if_it_never_ran() -> None:
    ends = {
        (state, cue)
        for (state, cue), (following, _) in TABLE.items()
        if state in {S.hold, S.conting} and following == S.closed
    }

    assert ends == {(S.hold, C.qemu_died), (S.hold, C.qemu_died_unrun), (S.conting, C.qemu_died_unrun)}
    assert (S.conting, C.aborted) not in TABLE
    assert (S.running, C.aborted) not in TABLE


def test_what_is_not_in_the_table_is_refused_loudly() -> None:
    for state, cue in itertools.product(S, C):
        if (state, cue) not in TABLE:
            with pytest.raises(Broken, match="nothing was done"):
                step(state, cue)


def test_a_state_that_writes_is_entered_with_a_record() -> None:
    for (state, _), (following, acts) in TABLE.items():
        if state != following:
            assert {A.write, A.write_durable} & set(acts), (state, following)

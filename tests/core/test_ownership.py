"""The table of ownership: what must never follow what. Whole runs, with every fault: test_ownership_model.py."""

from __future__ import annotations

import itertools

import pytest

from godwit.core.errors import Broken, Refused
from godwit.core.ownership import BY_A_PERSON, OWNERS, TABLE, Act, Cue, Ownership, Sight, Stream, look, step

S, C, A = Ownership, Cue, Act

WRITES = {A.write, A.write_durable}
PROMISES = {S.own, S.offer, S.reclaim, S.conting, S.returned, S.closed, S.done}
"""States after which the other side, or QEMU, may do what cannot be undone."""


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
    for (state, _), (following, acts) in TABLE.items():
        if A.cont in acts:
            assert following in {S.reclaim, S.conting}
            assert state == following or acts.index(A.write_durable) < acts.index(A.cont)


def test_the_offer_is_durable_before_memory_is_sent() -> None:
    for _, (following, acts) in TABLE.items():
        if A.start_sending in acts:
            assert following == S.offer
            assert acts.index(A.write_durable) < acts.index(A.start_sending)


def test_a_promise_is_on_disk_before_anybody_hears_of_it() -> None:
    for (state, cue), (following, acts) in TABLE.items():
        if following in PROMISES and state != following:
            assert acts[0] == A.write_durable, (state, cue)


def test_the_source_comes_back_from_given_only_by_an_answer_or_a_person() -> None:
    back = {cue for (state, cue), (following, _) in TABLE.items() if state == S.given and following in OWNERS}

    assert back == {C.answered_dead, C.answered_returned, C.restored}


def test_a_source_whose_qemu_is_dead_never_owns_the_vm_again() -> None:
    assert not {following for (state, _), (following, _) in TABLE.items() if state == S.last} & OWNERS


def test_a_destination_that_was_told_to_go_is_ended_only_if_it_never_ran() -> None:
    ends = {
        (state, cue)
        for (state, cue), (following, _) in TABLE.items()
        if state in {S.hold, S.keep, S.conting} and following == S.closed
    }

    assert ends == {
        (S.hold, C.qemu_died),
        (S.hold, C.qemu_died_unrun),
        (S.hold, C.given_up),
        (S.keep, C.qemu_died),
        (S.keep, C.qemu_died_unrun),
        (S.keep, C.never_came),
        (S.keep, C.given_up),
        (S.conting, C.qemu_died_unrun),
    }


@pytest.mark.parametrize("state", [S.hold, S.keep, S.conting, S.running, S.died])
def test_who_was_told_to_go_is_not_aborted(state: Ownership) -> None:
    assert (state, C.aborted) not in TABLE


def test_every_state_of_a_destination_answers_every_go() -> None:
    states = {S.armed, S.hold, S.keep, S.returned, S.conting, S.running, S.closed, S.died, S.lost}

    assert [(s, c) for s in states for c in (C.went, C.went_last) if (s, c) not in TABLE] == []


LATER = {C.armed, C.came_cold}
"""Cues of a later epoch."""


def test_who_ran_the_vm_never_says_that_it_did_not() -> None:
    """By whatever way from `running`: its source would start a stale copy."""
    met, todo = set[Ownership](), [S.running]
    while todo:
        state = todo.pop()
        met.add(state)
        following = {step.state for (before, cue), step in TABLE.items() if before == state and cue not in LATER}
        todo += following - met - {S.offer}  # a later epoch

    assert not met & {S.closed, S.returned, S.armed}
    assert all(A.answer_dead not in step.acts for (state, _), step in TABLE.items() if state in met)


def test_what_is_not_in_the_table_is_refused_loudly() -> None:
    for state, cue in itertools.product(S, C):
        if (state, cue) not in TABLE:
            with pytest.raises(Broken, match="nothing was done"):
                step(state, cue, proof="the host was taken away")


def test_a_person_settles_it_only_by_saying_how_it_is_known() -> None:
    for state, cue in itertools.product(S, BY_A_PERSON):
        with pytest.raises(Refused, match="needs proof"):
            step(state, cue)

    assert step(S.given, C.restored, proof="host-b was wiped before it had loaded").state == S.reclaim
    assert step(S.armed, C.taken_over, proof="host-a burnt; its journal said GIVEN").state == S.keep


def test_a_state_that_writes_is_entered_with_a_record() -> None:
    for (state, _), (following, acts) in TABLE.items():
        assert bool(WRITES & set(acts)) == (state != following), (state, following)


def test_whatever_is_seen_the_table_knows_it() -> None:
    for state, alive, stream, runs, resumed, return_path in itertools.product(
        S, (True, False), Stream, (True, False), (True, False, None), (True, False)
    ):
        cue = look(state, Sight(alive, stream, runs, resumed), return_path=return_path)
        assert cue is None or (state, cue) in TABLE, (state, cue)


@pytest.mark.parametrize(
    ("seen", "cue"),
    [
        (Sight(True, Stream.active, runs=True), None),
        (Sight(True, Stream.active, runs=False), None),
        (Sight(True, Stream.completed, runs=False), C.completed),
        (Sight(True, Stream.failed, runs=True), C.failed_running),
        (Sight(True, Stream.failed, runs=False), C.failed_frozen),
        (Sight(True, Stream.none, runs=True), C.failed_running),
        # the VM came here by a migration, and its next stream was never begun
        (Sight(True, Stream.completed, runs=True), C.failed_running),
    ],
)
def test_what_a_look_at_an_offered_vm_means(seen: Sight, cue: Cue | None) -> None:
    assert look(S.offer, seen) == cue


@pytest.mark.parametrize(("resumed", "cue"), [(False, C.qemu_died_unrun), (True, C.resumed), (None, C.qemu_died)])
def test_only_a_whole_event_log_without_resume_proves_that_it_never_ran(resumed: bool | None, cue: Cue) -> None:
    assert look(S.conting, Sight(alive=False, resumed=resumed)) == cue


def test_with_return_path_on_a_dead_source_may_have_run_again() -> None:
    assert look(S.offer, Sight(alive=False)) == C.qemu_died
    assert look(S.offer, Sight(alive=False), return_path=True) == C.qemu_died_run
    assert look(S.offer, Sight(alive=False, resumed=False), return_path=True) == C.qemu_died

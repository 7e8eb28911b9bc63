"""The table of ownership, run through every fault in every order; and proof that the checker would see a mistake.

`GODWIT_MODEL=all` adds the big runs: some minutes.
"""

from __future__ import annotations

import os
from dataclasses import replace

import pytest

from godwit.core.ownership import TABLE, Act, Cue, Ownership, Sight, Step, Stream, look
from godwit.testing.model_check import check
from godwit.testing.model_world import Rules

S, C, A = Ownership, Cue, Act


def goes_at_stop(state: Ownership, seen: Sight, *, return_path: bool = False) -> Cue | None:
    """The token is given as soon as the vCPUs stand."""
    if state == S.offer and seen.alive and seen.stream == Stream.active and not seen.runs:
        return C.completed
    return look(state, seen, return_path=return_path)


STRICT = {
    "return-path off": Rules(came_by_migration=True),
    "return-path on": Rules(return_path=True),
    "two attempts, no QEMU dies": Rules(attempts=2, qemus_die=False),
}
IN_DOUBT = {
    "no event log": Rules(evidence=False),
    "no event log, return-path on": Rules(evidence=False, return_path=True),
    "hosts lose power, come back or not": Rules(hosts_reboot=True, hosts_die=True),
}
BIG = {
    "GO at STOP": Rules(look=goes_at_stop),
    "two attempts": Rules(attempts=2),
    "two attempts, return-path on": Rules(attempts=2, return_path=True, came_by_migration=True),
}
BIG_IN_DOUBT = {
    "hosts lose power, no event log": Rules(hosts_reboot=True, hosts_die=True, evidence=False),
    "two attempts, no event log": Rules(attempts=2, evidence=False),
}
big = pytest.mark.skipif(os.environ.get("GODWIT_MODEL") != "all", reason="some minutes: set GODWIT_MODEL=all")


@pytest.mark.parametrize("case", STRICT)
def test_nothing_breaks_however_agents_links_and_qemus_fail(case: str) -> None:
    verdict = check(STRICT[case])
    print(verdict)

    assert not verdict.broken, str(verdict)
    assert verdict.states > 10_000, "the faults are not in the model"


@pytest.mark.parametrize("case", IN_DOUBT)
def test_without_evidence_a_copy_may_be_lost_and_never_doubled(case: str) -> None:
    verdict = check(IN_DOUBT[case], loses_in_doubt=True)
    print(verdict)

    assert not verdict.broken, str(verdict)
    assert "last current copy" in check(IN_DOUBT[case]).broken or "rest" in check(IN_DOUBT[case]).broken


@big
@pytest.mark.parametrize("case", [*BIG, *BIG_IN_DOUBT])
@pytest.mark.timeout(1800)
def test_the_big_runs(case: str) -> None:
    verdict = check((BIG | BIG_IN_DOUBT)[case], loses_in_doubt=case in BIG_IN_DOUBT)
    print(verdict)

    assert not verdict.broken, str(verdict)


def with_row(state: Ownership, cue: Cue, *steps: Ownership | Act) -> Rules:
    following, acts = steps[0], steps[1:]
    assert isinstance(following, Ownership)
    return Rules(table={**TABLE, (state, cue): Step(following, tuple(act for act in acts if isinstance(act, Act)))})


def trusts_runstate(state: Ownership, seen: Sight, *, return_path: bool = False) -> Cue | None:
    """It runs, so it must have been resumed."""
    return C.failed_running if state == S.offer and seen.runs else look(state, seen, return_path=return_path)


GOES_AT_STOP = Rules(look=goes_at_stop, return_path=True)
MUTANTS = {
    "the destination starts by itself": (
        Rules(destination_autostarts=True, return_path=True, qemus_die=False),
        "two copies run",
    ),
    "the source takes back because time passed": (
        replace(with_row(S.given, C.again, S.reclaim, A.write_durable, A.cont), qemus_die=False),
        "two copies run",
    ),
    "cont before the journal": (
        with_row(S.hold, C.loaded, S.conting, A.commit_network, A.cont, A.write_durable),
        "stale copy",
    ),
    "cont before the journal is on disk": (
        replace(
            with_row(S.hold, C.loaded, S.conting, A.write, A.commit_network, A.cont), hosts_reboot=True, qemus_die=False
        ),
        "stale copy",
    ),
    "the destination loses patience": (
        with_row(S.armed, C.stalled, S.closed, A.write_durable, A.quit_qemu),
        "last current copy",
    ),
    "GO at STOP with return-path on": (GOES_AT_STOP, "two copies run"),
    "migrate_cancel after STOP": (Rules(cancels=True), "stale copy"),
    "runstate alone": (Rules(look=trusts_runstate), "last current copy"),
    "runstate before the stream": (Rules(asks_runstate_first=True), "last current copy"),
    "old attempts are heard": (Rules(attempts=2, hears_old_attempts=True), "last current copy"),
    "an attempt is offered twice": (Rules(offers_twice=True), "last current copy"),
    "the manager ends the destination unasked": (Rules(manager_aborts_unasked=True), "last current copy"),
    "a VM ended by order counts as one that never ran": (
        with_row(S.running, C.ended, S.closed, A.write),
        "stale copy",
    ),
    "a VM that died leaves GO unanswered": (
        Rules(table={pair: row for pair, row in TABLE.items() if pair != (S.died, C.went)}),
        "no row",
    ),
    "the token returns and is not on disk": (
        replace(
            with_row(S.hold, C.stalled, S.returned, A.write, A.answer_returned), hosts_reboot=True, qemus_die=False
        ),
        "no row",
    ),
    "a destination to which nobody connects waits for ever": (
        Rules(table={**TABLE, (S.keep, C.never_came): Step(S.keep)}),
        "rest",
    ),
}


@pytest.mark.parametrize("mutant", MUTANTS)
def test_a_mistake_is_found_and_told_as_a_story(mutant: str) -> None:
    rules, expected = MUTANTS[mutant]
    verdict = check(rules, loses_in_doubt=rules.hosts_reboot)
    print(verdict)

    assert expected in verdict.broken, str(verdict)
    assert len(verdict.trace) > 5


def test_go_at_stop_would_be_safe_with_return_path_off() -> None:
    assert not check(replace(GOES_AT_STOP, return_path=False, qemus_die=False)).broken


def test_with_return_path_on_a_power_cut_needs_given_on_disk() -> None:
    """godwit moves memory with return-path off; whoever turns it on must change this row."""
    rules = Rules(return_path=True, hosts_reboot=True)
    durable = with_row(S.offer, C.completed, S.given, A.write_durable, A.send_go)

    assert check(rules, loses_in_doubt=True).broken
    assert not check(replace(rules, table=durable.table), loses_in_doubt=True).broken

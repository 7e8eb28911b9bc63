"""The governor's decisions, on made-up passes."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from godwit.core.convergence import (
    FIRST_MS,
    MOST_PASSES,
    THROTTLE_MOST,
    Action,
    Goals,
    Sample,
    decide,
    limit_ms,
    overdue,
    predicted_ms,
)

MIB = 2**20
GOALS = Goals(max_blackout_ms=300)
samples = st.builds(
    Sample,
    st.integers(1, 50),
    st.integers(0, 2**34),
    st.integers(0, 10**10),
    st.integers(0, 10**10),
    st.floats(0, 1000),
    st.integers(0, 99),
    st.floats(0, 1),
)
all_goals = st.builds(Goals, st.integers(1, 10_000), st.none() | st.floats(0.1, 1000), st.floats(1, 200))


def sample(
    number: int, remaining_mib: float, *, dirty_mib_s: int = 10, throttle: int = 0, took_s: float = 1.0
) -> Sample:
    return Sample(number, int(remaining_mib * MIB), 100 * MIB, dirty_mib_s * MIB, number * took_s, throttle)


def busy(*numbers: int, throttle: int = 0) -> list[Sample]:
    """Each pass sends 200 MiB, and the guest dirties as much meanwhile."""
    return [sample(n, 200, dirty_mib_s=100, throttle=throttle, took_s=2.0) for n in numbers]


def test_an_idle_guest_is_switched_after_its_first_pass() -> None:
    decision = decide([sample(1, 0.5)], GOALS)

    assert decision.action == Action.switch
    assert predicted_ms(sample(1, 0.5)) == decision.predicted_ms == 17.0
    assert decision.downtime_ms == FIRST_MS, "QEMU may wait for a shorter pass still"


def test_short_passes_that_leave_no_less_than_the_one_before_are_waited_for_no_longer() -> None:
    first = [sample(1, 1.5), sample(2, 0.5)._replace(elapsed_s=1.015)]
    shrinks, stays = ([*first, sample(3, 0.0)._replace(elapsed_s=each)] for each in (1.023, 1.029))

    assert decide(first, GOALS).downtime_ms == FIRST_MS
    assert decide(shrinks, GOALS).downtime_ms == FIRST_MS
    assert decide(stays, GOALS).downtime_ms == pytest.approx(1.3 * 14, abs=1)
    assert "leave no less" in decide(stays, GOALS).reason


def test_the_hand_over_begins_during_the_pass_that_will_leave_little() -> None:
    passes = [Sample(1, 20 * MIB, 100 * MIB, 10 * MIB, 2.0)]  # 0.2 s to send; 10 MiB/s are dirtied meanwhile

    decision = decide(passes, GOALS)

    assert (decision.action, decision.downtime_ms) == (Action.switch, FIRST_MS)
    assert decision.predicted_ms == pytest.approx(12 + 20, abs=0.5)


def test_short_passes_do_not_count_as_too_many() -> None:
    decision = decide([sample(n, 0.5 + n % 2) for n in range(1, 3 * MOST_PASSES)], GOALS)

    assert decision.action == Action.switch


def test_while_passes_get_shorter_they_go_on() -> None:
    passes = [sample(1, 200), sample(2, 100), sample(3, 50), sample(4, 20)]

    assert decide(passes, GOALS).action == Action.hold


def test_when_passes_stop_improving_a_blackout_within_the_goal_is_taken() -> None:
    decision = decide([sample(n, 20) for n in range(1, 5)], GOALS)

    assert decision.action == Action.switch
    assert decision.downtime_ms == pytest.approx(1.3 * 200 + 5, abs=1)
    assert "no improvement" in decision.reason


def test_a_guest_that_dirties_as_fast_as_the_stream_is_slowed_down_by_as_much_as_it_takes() -> None:
    decision = decide(busy(1, 2, 3), GOALS)

    assert (decision.action, decision.throttle_percent) == (Action.throttle, 50)
    assert "100 MiB/s over a stream of 100 MiB/s" in decision.reason


def test_a_step_gets_time_to_show_itself_and_the_next_one_goes_further() -> None:
    first = [*busy(1, 2, 3), *busy(4, 5, throttle=50)]

    waits, goes_on = decide(first, GOALS), decide([*first, *busy(6, throttle=50)], GOALS)

    assert (waits.action, waits.throttle_percent) == (Action.hold, 50)
    assert (goes_on.action, goes_on.throttle_percent) == (Action.throttle, 75)


def test_a_guest_that_calmed_down_is_slowed_down_less() -> None:
    slow, fast = (
        decide([sample(1, 800, throttle=had), sample(2, 100, throttle=had, took_s=4)], GOALS) for had in (60, 95)
    )

    assert (slow.action, slow.throttle_percent) == (Action.relax, 30), "by half at most"
    assert (fast.action, fast.throttle_percent) == (Action.relax, 83), "it writes 286 MiB each second"


def test_a_goal_that_cannot_be_met_is_given_up_with_numbers() -> None:
    decision = decide([sample(n, 200) for n in range(1, MOST_PASSES + 1)], GOALS)

    assert decision.action == Action.give_up
    assert "2012 ms" in decision.reason
    assert "300 ms" in decision.reason


def test_passes_that_improve_for_ever_end_with_what_fits() -> None:
    decision = decide([sample(n, 20 / 0.88 ** (MOST_PASSES - n)) for n in range(1, MOST_PASSES + 1)], GOALS)

    assert decision.action == Action.switch
    assert "passes are enough" in decision.reason


def test_a_guest_that_cannot_be_slowed_down_further_is_given_up() -> None:
    decision = decide([sample(n, 200, throttle=THROTTLE_MOST) for n in range(1, 5)], GOALS)

    assert decision.action == Action.give_up
    assert "slowed down by 99 %" in decision.reason


def test_a_stream_that_had_little_to_send_is_not_taken_for_a_slow_one() -> None:
    """QEMU counts the time in which it asked what is dirty, too."""
    slow = Sample(9, 20 * MIB, MIB // 2, MIB // 2, 8.05, THROTTLE_MOST)
    passes = [sample(1, 200), *(sample(n, 40, throttle=THROTTLE_MOST) for n in range(2, 9)), slow]

    assert predicted_ms(slow) == pytest.approx(40_012)
    assert decide(passes, GOALS).predicted_ms == pytest.approx(212)
    assert decide(passes, GOALS._replace(deadline_s=12.0)).action != Action.give_up


@pytest.mark.parametrize(("throttle", "limit"), [(0, FIRST_MS), (90, 20 * FIRST_MS)])
def test_a_guest_that_is_slowed_down_does_not_wait_until_qemu_knows_the_stream_again(throttle: int, limit: int) -> None:
    begun = [sample(1, 200, throttle=throttle), sample(2, 20, throttle=throttle)]
    short = Sample(3, MIB, 5 * MIB, MIB, 2.01, throttle)

    decision = decide([*begun, short], GOALS)

    assert (decision.action, decision.downtime_ms) == (Action.switch, limit)


def test_when_the_deadline_is_near_what_fits_is_taken() -> None:
    passes = [sample(1, 40), sample(2, 25)]

    assert decide(passes, GOALS).action == Action.hold
    assert decide(passes, GOALS._replace(deadline_s=2.4)).action == Action.switch


def test_a_deadline_that_will_not_be_met_slows_the_guest_down_before_passes_stall() -> None:
    passes = [sample(1, 1000, dirty_mib_s=90), sample(2, 880, dirty_mib_s=90)]

    assert decide(passes, GOALS).action == Action.hold
    assert decide(passes, GOALS._replace(deadline_s=20)).action == Action.throttle


def test_a_deadline_comes_between_passes_too() -> None:
    assert overdue(sample(3, 200), GOALS) is None
    assert overdue(sample(3, 200), GOALS._replace(deadline_s=3.5)) is None
    assert "200 MiB of pass 3" in (overdue(sample(3, 200), GOALS._replace(deadline_s=3)) or "")


def test_qemu_may_decide_by_itself_where_next_to_nothing_is_left() -> None:
    assert limit_ms(0, Goals(300)) == 1
    assert limit_ms(0, Goals(15, fixed_ms=12)) == 1, "with 0 QEMU would not look what the first pass left"
    assert limit_ms(50, Goals(15, fixed_ms=12)) == 3
    assert limit_ms(50, Goals(10, fixed_ms=12)) == 1


@given(st.lists(samples, min_size=1, max_size=2 * MOST_PASSES), all_goals)
def test_what_fits_is_never_given_up(passes: list[Sample], goals: Goals) -> None:
    decision = decide(passes, goals)

    assert decision.action != Action.give_up or decision.predicted_ms > goals.max_blackout_ms


@given(st.lists(samples, min_size=1, max_size=80), all_goals)
def test_no_switch_is_ever_allowed_beyond_the_goal(passes: list[Sample], goals: Goals) -> None:
    decision = decide(passes, goals)

    assert 0 <= decision.throttle_percent <= THROTTLE_MOST
    if decision.action == Action.switch:
        assert decision.predicted_ms <= goals.max_blackout_ms
        assert 1 <= decision.downtime_ms <= max(goals.max_blackout_ms - goals.fixed_ms, 1)

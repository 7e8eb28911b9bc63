"""The governor's decisions, on made-up passes."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from godwit.core.convergence import MOST_PASSES, Action, Sample, decide, predicted_ms

MIB = 2**20
samples = st.builds(
    Sample,
    st.integers(1, 50),
    st.integers(0, 2**34),
    st.integers(0, 10**10),
    st.integers(0, 10**10),
)


def sample(number: int, remaining_mib: float, bandwidth_mib_s: int = 100) -> Sample:
    return Sample(number, int(remaining_mib * MIB), bandwidth_mib_s * MIB, 10 * MIB)


def test_an_idle_guest_is_switched_after_its_first_pass() -> None:
    decision = decide([sample(1, 0.5)], max_blackout_ms=300)

    assert decision.action == Action.switch
    assert predicted_ms(sample(1, 0.5)) == decision.predicted_ms == 20.0


def test_while_passes_get_shorter_they_go_on() -> None:
    passes = [sample(1, 200), sample(2, 100), sample(3, 50), sample(4, 20)]

    assert decide(passes, max_blackout_ms=300).action == Action.hold


def test_when_passes_stop_improving_a_blackout_within_the_goal_is_taken() -> None:
    passes = [sample(n, 20) for n in range(1, 5)]

    decision = decide(passes, max_blackout_ms=300)

    assert decision.action == Action.switch
    assert "no improvement" in decision.reason


def test_a_goal_that_cannot_be_met_is_given_up_with_numbers() -> None:
    passes = [sample(n, 200) for n in range(1, MOST_PASSES + 1)]

    decision = decide(passes, max_blackout_ms=300)

    assert decision.action == Action.give_up
    assert "2015 ms" in decision.reason
    assert "300 ms" in decision.reason


@given(st.lists(samples, min_size=1, max_size=50), st.integers(1, 10_000))
def test_no_switch_is_ever_allowed_beyond_the_goal(passes: list[Sample], max_blackout_ms: int) -> None:
    decision = decide(passes, max_blackout_ms=max_blackout_ms)

    if decision.action == Action.switch:
        assert decision.predicted_ms <= max_blackout_ms
        assert 1 <= decision.downtime_ms <= max_blackout_ms

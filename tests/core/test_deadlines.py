"""Deadlines, with a made-up guest and QEMU: whatever they do, a copying has ended or was given up before its time."""

from __future__ import annotations

from itertools import cycle
from typing import NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from godwit.core.brake import Brake, slowed
from godwit.core.convergence import GRACE_S, WIDEN_S, Action, Decision, Goals, Sample, decide, limit_ms, overdue
from godwit.core.dirtying import Dirtying, at_random, in_turn

MB = 10**6
MOST_PASSES = 300
"""Short passes come by thousands: what has not ended then is looked at no longer."""
LOOK_S = 0.25
"""The governor's, while a pass goes on."""


class World(NamedTuple):
    """A guest, a link and how much both vary from pass to pass."""

    guest: Dirtying
    stream_bytes_per_s: float
    first_bytes: float
    vcpu_share: float = 1.0
    noise: tuple[float, ...] = (1.0,)


class End(NamedTuple):
    """How a copying ended, and when."""

    switched: bool
    at_s: float
    rest_ms: float
    throttled: int
    reasons: tuple[str, ...]


class Source:
    """What agent/governor and QEMU make of it, pass by pass."""

    def __init__(self, world: World, goals: Goals) -> None:
        self._world, self._goals = world, goals
        self._brake = Brake(is_ready=goals.deadline_s is not None)
        self._passes: list[Sample] = []
        self._decided: Decision | None = None
        self._limit_ms, self._limited_at_s = limit_ms(0, goals), 0.0
        self._reasons: list[str] = []
        self._noise = cycle(world.noise)

    def run(self) -> End:
        at_s, left = 0.0, self._world.first_bytes
        while len(self._passes) < MOST_PASSES:
            rate = self._world.stream_bytes_per_s * next(self._noise)
            pass_s = left / rate + 0.003
            if (late_s := self._late_within(at_s, pass_s, rate)) is not None:
                return self._end(late_s, 0.0, switched=False)
            share = slowed(self._brake.percent, self._world.vcpu_share) * next(self._noise)
            goes, at_s = left, at_s + pass_s
            left = self._world.guest._replace(bytes_per_s=self._world.guest.bytes_per_s * share).within(pass_s)
            self._brake.pass_ended(at_s, sent=goes, dirtied=left)
            if 1000 * left / rate <= self._limit_ms:
                return self._end(at_s, 1000 * left / rate, switched=True)
            if not self._steer(at_s, left, rate, pass_s):
                break
        return self._end(at_s, 0.0, switched=False)

    def _late_within(self, at_s: float, pass_s: float, rate: float) -> float | None:
        """When it is given up during this pass."""
        deadline_s = self._goals.deadline_s
        if deadline_s is None:
            return None
        if at_s + pass_s >= deadline_s and self._decided:
            self._limit_ms = limit_ms(self._goals.max_blackout_ms, self._goals)
        now = Sample(1, int(rate), int(rate), 0, at_s + pass_s)
        if overdue(now, self._goals, is_ready=self._decided is not None) is None:
            return None
        return max(at_s, deadline_s + (GRACE_S if self._decided else 0.0)) + LOOK_S

    def _steer(self, at_s: float, left: float, rate: float, pass_s: float) -> bool:
        self._passes.append(
            Sample(
                len(self._passes) + 1,
                int(left),
                int(rate),
                int(left / pass_s),
                at_s,
                self._brake.percent,
                self._world.vcpu_share,
            )
        )
        decision = decide(self._passes, self._goals)
        self._reasons.append(decision.reason)
        if decision.action in {Action.throttle, Action.relax}:
            self._brake.allow(decision.throttle_percent, decision.trigger_percent)
        if decision.action is Action.switch:
            self._decided = decision
            self._open(decision.downtime_ms, at_s)
        elif self._decided and at_s - self._limited_at_s > WIDEN_S:
            self._open(limit_ms(2 * self._limit_ms, self._goals), at_s)
        return decision.action is not Action.give_up

    def _open(self, limit: int, at_s: float) -> None:
        if limit > self._limit_ms:
            self._limit_ms, self._limited_at_s = limit, at_s

    def _end(self, at_s: float, rest_ms: float, *, switched: bool) -> End:
        return End(
            switched,
            at_s,
            rest_ms,
            max((each.throttle_percent for each in self._passes), default=0),
            tuple(self._reasons),
        )


def world(rate: float, working_set: float, *, stream: float, first: float = 170, share: float = 1.0) -> World:
    return World(Dirtying(rate * MB, working_set * MB, in_turn), stream * MB, first * MB, share)


worlds = st.builds(
    World,
    st.builds(Dirtying, st.floats(0, 5e9), st.floats(1, 4e9), st.sampled_from([at_random, in_turn])),
    st.floats(1e6, 1e10),
    st.floats(0, 2**34),
    st.floats(0.05, 1),
    st.lists(st.floats(0.5, 1.5), min_size=1, max_size=30).map(tuple),
)


@given(worlds, st.floats(0.5, 1000), st.integers(13, 2000))
def test_no_copying_goes_on_after_its_deadline_and_no_switch_takes_more_than_the_goal(
    any_world: World, deadline_s: float, max_blackout_ms: int
) -> None:
    goals = Goals(max_blackout_ms, deadline_s)

    end = Source(any_world, goals).run()

    assert end.at_s <= deadline_s + GRACE_S + LOOK_S
    assert end.rest_ms <= limit_ms(max_blackout_ms, goals)


TIMES = (1.0, 1.5, 2.0, 4.0, 10.0, 20.0)


@pytest.mark.parametrize("shape", [in_turn, at_random])
@pytest.mark.parametrize("share", [0.3, 1.0])
@pytest.mark.parametrize("faster", TIMES)
@settings(max_examples=20)
@given(noise=st.lists(st.floats(0.8, 1.2), min_size=1, max_size=30).map(tuple))
def test_a_guest_that_dirties_faster_than_the_link_is_slowed_down_enough_in_time(
    shape: object, share: float, faster: float, noise: tuple[float, ...]
) -> None:
    """Where the deadline leaves twelve times what sending its working set takes, after the first pass."""
    guest = Dirtying(faster * 25 * MB, 70 * MB, at_random if shape is at_random else in_turn)
    here = World(guest, 25.0 * MB, 170.0 * MB, share, noise)
    deadline_s = 1.25 * (170 + 12 * 70) / 25

    end = Source(here, Goals(250, deadline_s)).run()

    assert end.switched, end
    assert end.at_s < deadline_s


def test_a_guest_without_a_chance_is_given_up_long_before_its_deadline() -> None:
    hopeless = world(20_000, 70, stream=25, share=0.05)

    end = Source(hopeless, Goals(250, 120.0)).run()

    assert not end.switched
    assert end.at_s < 60
    assert "slowed down by 99 %" in end.reasons[-1]


def test_what_the_next_pass_cannot_end_in_time_is_given_up_before_it() -> None:
    end = Source(world(500, 100, stream=25), Goals(250, 10.0)).run()

    assert not end.switched
    assert end.at_s == pytest.approx(170 / 25, abs=0.1)


def test_a_guest_that_halves_what_remains_is_not_slowed_down_whatever_the_deadline() -> None:
    end = Source(world(10, 70, stream=25), Goals(250, 30.0)).run()

    assert end.switched
    assert end.throttled == 0


def test_without_a_deadline_a_guest_is_slowed_down_only_when_passes_have_stalled() -> None:
    patient, hurried = (Source(world(40, 70, stream=25), Goals(250, each)).run() for each in (None, 40.0))

    assert patient.switched
    assert hurried.switched
    assert hurried.at_s < patient.at_s
    assert hurried.throttled >= patient.throttled > 0

"""When to stop the source's vCPUs, and what to do so that it gets there: samples in, one decision and its reason out.

A sample is taken when a pass ends. What remains then over the stream's rate, and the fixed part, is the blackout if
the vCPUs stopped now. While passes make it shorter the switch-over is held back; when they do not, the guest is
slowed down, as much as it takes and no more; what cannot be reached is given up, with numbers.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum
from typing import NamedTuple

FIXED_MS = 12.0
"""Blackout that does not depend on what remains, unless earlier moves told: devices saved and loaded, the token."""
BUFFER_BYTES = 256 * 1024
"""Of each connection, at either end (the kernel doubles it): enough for 1 Gbit/s, of which it is two milliseconds."""
SHORT_MS = 25.0
"""With so little left to send the next passes are short too: QEMU may choose among them."""
FIRST_MS = 2
"""The rest that is worth waiting for, for some passes: a longer one is allowed only when this one does not come."""
WIDEN_S = 0.15
"""QEMU heeds a new limit within 0.1 s: one that did not make it switch over in this time was too narrow."""
STRICT_MS = 8
"""A goal so near the fixed part leaves QEMU nothing to decide."""
STALLED_PASSES = 3
"""Passes without a tenth of improvement after which more of them are waste."""
THROTTLE_AFTER = 2
"""Such passes after which a guest whose rest does not fit is slowed down; so often a new step gets to show itself."""
MOST_PASSES = 60
THROTTLE_MOST = 99
"""Percent; QEMU accepts no more."""
THROTTLE_LEAST = 20
CONVERGING = 0.5
"""Of the stream's rate: what a guest that is slowed down may dirty, so that each pass halves the rest."""
CALM = 0.25
"""A pass that leaves so little of the one before needs less slowing down."""
MARGIN = 1.3
"""The switch-over is allowed for this much more than predicted: the last pass dirties too."""


class Goals(NamedTuple):
    """What the person wants, and what is known of this VM."""

    max_blackout_ms: int
    deadline_s: float | None = None
    """For the copying; none: however long it takes."""
    fixed_ms: float = FIXED_MS


class Sample(NamedTuple):
    """What was so when a pass ended."""

    pass_number: int
    remaining_bytes: int
    bandwidth_bytes_per_s: int
    dirty_bytes_per_s: int
    elapsed_s: float = 0.0
    """Since the copying began."""
    throttle_percent: int = 0
    """How much the guest was slowed down."""


class Action(StrEnum):
    """What the governor may do."""

    hold = "hold"
    switch = "switch"
    throttle = "throttle"
    relax = "relax"
    give_up = "give-up"


class Decision(NamedTuple):
    """One action and why."""

    action: Action
    reason: str
    predicted_ms: float
    downtime_ms: int = 0
    """For QEMU's downtime-limit, when switching."""
    throttle_percent: int = 0
    """From now on."""


def limit_ms(wanted: float, goals: Goals) -> int:
    """For QEMU's downtime-limit, which is for what remains alone: the fixed part, unknown to it, is off the goal.

    At least one millisecond, with which QEMU may switch an idle guest over by itself; none where that could matter.
    """
    most = int(goals.max_blackout_ms - goals.fixed_ms)
    return max(0 if most < STRICT_MS else 1, min(round(wanted), most))


def overdue(now: Sample, goals: Goals) -> str | None:
    """Why the copying is given up between two passes; none: its time is not over."""
    if goals.deadline_s is None or now.elapsed_s < goals.deadline_s:
        return None
    return (
        f"its deadline has come with {now.remaining_bytes / 1e6:.0f} MB of pass {now.pass_number} to be sent over a "
        f"stream of {now.bandwidth_bytes_per_s / 1e6:.0f} MB/s; allow more with --deadline, or raise --bandwidth"
    )


def predicted_ms(sample: Sample, fixed_ms: float = FIXED_MS) -> float:
    """Blackout if the vCPUs stopped now: the fixed part and the rest over the bandwidth."""
    return fixed_ms + 1000 * sample.remaining_bytes / max(sample.bandwidth_bytes_per_s, 1)


def decide(passes: Sequence[Sample], goals: Goals) -> Decision:
    """What to do after the last of these passes (at least one)."""
    last = passes[-1]
    now = predicted_ms(last, goals.fixed_ms)
    stalled = _stalled_passes(passes)
    fits = now <= goals.max_blackout_ms
    enough = MARGIN * (now - goals.fixed_ms) + 5
    if fits and now - goals.fixed_ms <= SHORT_MS:
        return _switch(last, goals, FIRST_MS, f"a blackout of {now:.0f} ms is predicted, which is short")
    if fits and stalled >= STALLED_PASSES:
        return _switch(last, goals, enough, f"{stalled} passes brought no improvement, {now:.0f} ms fits the goal")
    if fits and _is_late(passes, goals):
        return _switch(last, goals, enough, f"the deadline is near, {now:.0f} ms fits the goal")
    if fits and len(passes) >= MOST_PASSES:
        return _switch(last, goals, enough, f"{len(passes)} passes are enough, {now:.0f} ms fits the goal")
    if len(passes) >= MOST_PASSES or _is_over(last, goals):
        return _because(Action.give_up, now, last, _give_up(passes, goals))
    if stalled >= STALLED_PASSES and last.throttle_percent >= THROTTLE_MOST:
        return _because(Action.give_up, now, last, _give_up(passes, goals))
    if not fits and (stalled >= THROTTLE_AFTER or _will_be_late(passes, goals)):
        return _throttle(passes, now)
    if last.throttle_percent and _is_calm(passes):
        less = last.throttle_percent // 2
        return Decision(Action.relax, f"passes get much shorter: slowed down by {less} % only", now, 0, less)
    return _because(Action.hold, now, last, f"{now:.0f} ms is predicted, another pass may shorten it")


def _because(action: Action, now_ms: float, last: Sample, reason: str) -> Decision:
    return Decision(action, reason, now_ms, 0, last.throttle_percent)


def _switch(last: Sample, goals: Goals, wanted_ms: float, reason: str) -> Decision:
    now_ms = predicted_ms(last, goals.fixed_ms)
    return Decision(Action.switch, reason, now_ms, limit_ms(wanted_ms, goals), last.throttle_percent)


def _throttle(passes: Sequence[Sample], now_ms: float) -> Decision:
    """As much as lets each pass halve the rest; more, if that was tried and did not help."""
    last, had = passes[-1], passes[-1].throttle_percent
    unslowed = last.dirty_bytes_per_s * 100 / (100 - had)
    needed = 100 - 100 * CONVERGING * last.bandwidth_bytes_per_s / max(unslowed, 1)
    since = sum(each.throttle_percent == had for each in passes)
    if had and since <= THROTTLE_AFTER:
        return _because(
            Action.hold, now_ms, last, f"{now_ms:.0f} ms is predicted; slowed down by {had} %, which shows late"
        )
    more = max(needed, had + (100 - had) / 2 if had else THROTTLE_LEAST)
    percent = min(THROTTLE_MOST, round(more))
    reason = (
        f"the guest dirties {last.dirty_bytes_per_s / 1e6:.0f} MB/s over a stream of "
        f"{last.bandwidth_bytes_per_s / 1e6:.0f} MB/s: slowed down by {percent} %"
    )
    return Decision(Action.throttle, reason, now_ms, 0, percent)


def _stalled_passes(passes: Sequence[Sample]) -> int:
    """Passes since the rest last improved by more than a tenth."""
    best, since = passes[0].remaining_bytes, 0
    for each in passes[1:]:
        now = each.remaining_bytes
        best, since = (now, 0) if now < 0.9 * best else (best, since + 1)
    return since


def _next_pass_s(last: Sample) -> float:
    return last.remaining_bytes / max(last.bandwidth_bytes_per_s, 1)


def _is_over(last: Sample, goals: Goals) -> bool:
    return goals.deadline_s is not None and last.elapsed_s >= goals.deadline_s


def _is_late(passes: Sequence[Sample], goals: Goals) -> bool:
    """No time for two more passes."""
    last = passes[-1]
    return goals.deadline_s is not None and last.elapsed_s + 2 * _next_pass_s(last) >= goals.deadline_s


def _will_be_late(passes: Sequence[Sample], goals: Goals) -> bool:
    """If every pass to come is to the one before as the last one was, the rest does not fit when the time is over."""
    if goals.deadline_s is None or len(passes) < 2:
        return False
    last, before = passes[-1], passes[-2]
    ratio = last.remaining_bytes / max(before.remaining_bytes, 1)
    if ratio >= 1:
        return True
    wanted = max(goals.max_blackout_ms - goals.fixed_ms, 1) / 1000 * last.bandwidth_bytes_per_s
    left, needed_s = float(last.remaining_bytes), 0.0
    while left > wanted and needed_s < goals.deadline_s:
        needed_s, left = needed_s + left / max(last.bandwidth_bytes_per_s, 1), left * ratio
    return last.elapsed_s + needed_s > goals.deadline_s


def _is_calm(passes: Sequence[Sample]) -> bool:
    return len(passes) > 1 and passes[-1].remaining_bytes < CALM * passes[-2].remaining_bytes


def _give_up(passes: Sequence[Sample], goals: Goals) -> str:
    last = passes[-1]
    slowed = f", slowed down by {last.throttle_percent} %," if last.throttle_percent else ""
    return (
        f"the guest{slowed} dirties {last.dirty_bytes_per_s / 1e6:.0f} MB/s over a stream of "
        f"{last.bandwidth_bytes_per_s / 1e6:.0f} MB/s, so that after {len(passes)} passes and {last.elapsed_s:.0f} s a "
        f"blackout of {predicted_ms(last, goals.fixed_ms):.0f} ms would be needed and {goals.max_blackout_ms} ms is "
        f"allowed: allow more with --max-blackout or --deadline, or move the VM at a quieter time"
    )

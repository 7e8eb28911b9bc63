"""When to stop the source's vCPUs, and what to do so that it gets there: samples in, one decision and its reason out.

A sample is taken when a pass ends. What remains then over the stream's rate, and the fixed part, is the blackout if
the vCPUs stopped now. While passes make it shorter the switch-over is held back; when they do not, the guest is
slowed down, as much as it takes and no more; what cannot be reached is given up, with numbers.

With a deadline it is slowed down in good time and boldly, then less: a step takes QEMU two passes (core/brake.py), and
passes that leave all that the guest writes to tell only the least that it may write. What cannot end before the
deadline any more is given up at once.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from enum import StrEnum
from typing import NamedTuple

from godwit.core.brake import NEVER_PERCENT, SHRINKS_PERCENT, slowed
from godwit.core.wording import size

FIXED_MS = 12.0
"""Blackout that does not depend on what remains, unless earlier moves told: devices saved and loaded, the token."""
BUFFER_BYTES = 256 * 1024
"""Of each connection, at either end (the kernel doubles it): enough for 1 Gbit/s, of which it is two milliseconds."""
SHORT_MS = 25.0
"""With so little left to send the next passes are short too: QEMU may choose among them."""
FIRST_MS = 8
"""The rest that is worth waiting for while passes shrink: what a guest that dirties 100 MB/s leaves in short ones."""
SOON_S = 0.3
"""A pass of that length is short enough to begin the hand-over during it."""
SHRINKING = 0.7
"""Of the pass before: a short one that leaves more shows that waiting for a still shorter one is waste."""
WIDEN_S = 0.15
"""QEMU heeds a new limit within 0.1 s: one that did not make it switch over in this time was too narrow ..."""
WIDEN_PASSES = 2
"""... if so many passes have ended meanwhile."""
STALLED_PASSES = 3
"""Passes without a tenth of improvement after which more of them are waste."""
THROTTLE_AFTER = 2
"""Such passes after which a guest whose rest does not fit is slowed down; as many show what a new step does ..."""
HURRIED_AFTER = 1
"""... and so many where there is a deadline."""
PATIENCE = 20
"""Passes like the last one: where the deadline leaves no more, it is slowed down when the first has ended."""
LAST_STEP = 6
"""Of them, what one step takes: two until QEMU heeds it, one to show itself, two while the rest is halved, and one.
With no more left it must be the last, and is as large as can be."""
BOLD = 4
"""A guest is taken to write so much faster than the least that a pass with all of its working set tells."""
WHOLE = 0.8
"""Of the most that any pass left: the guest has dirtied its working set, or most of it."""
MOST_PASSES = 60
TELLING_S = 0.2
"""A pass that took less tells too low a rate of the stream: QEMU counts the time in which it asks what is dirty."""
LATELY_S = 10.0
"""A stream that was faster so lately still may be."""
THROTTLE_MOST = 99
"""Percent; QEMU accepts no more."""
THROTTLE_LEAST = 20
CONVERGING = 0.5
"""Of the stream's rate: what a guest that is slowed down may dirty, so that each pass halves the rest."""
CALM = 0.25
"""A pass that leaves so little of the one before needs less slowing down."""
GRACE_S = 1.0
"""Beyond the deadline for the copying, which leaves more than that for what follows (forecast.copying_s)."""
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
    vcpu_share: float = 1.0
    """The part of its vCPUs' time that the guest used."""


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
    trigger_percent: int = 1
    """QEMU slows down only a guest that dirties more than so much of what is sent."""


def limit_ms(wanted: float, goals: Goals) -> int:
    """For QEMU's downtime-limit, which is for what remains alone: the fixed part, unknown to it, is off the goal.

    At least one millisecond, with which QEMU may switch an idle guest over by itself. Never 0: with that QEMU ends
    after the first pass without a look at what was dirtied meanwhile (migration_iteration_run in migration.c).
    """
    return max(1, min(round(wanted), int(goals.max_blackout_ms - goals.fixed_ms)))


def overdue(now: Sample, goals: Goals, *, is_ready: bool = False) -> str | None:
    """Why the copying is given up between two passes; none: its time is not over.

    A switch-over that was decided on is given a second more, in which all that the goal allows is allowed.
    """
    if goals.deadline_s is None or now.elapsed_s < goals.deadline_s + (GRACE_S if is_ready else 0.0):
        return None
    return (
        f"its deadline has come with {size(now.remaining_bytes)} of pass {now.pass_number} to be sent over a "
        f"stream of {size(now.bandwidth_bytes_per_s)}/s; allow more with --deadline, or raise --bandwidth"
    )


def predicted_ms(sample: Sample, fixed_ms: float = FIXED_MS) -> float:
    """Blackout if the vCPUs stopped now: the fixed part and the rest over the bandwidth."""
    return fixed_ms + 1000 * sample.remaining_bytes / max(sample.bandwidth_bytes_per_s, 1)


def decide(passes: Sequence[Sample], goals: Goals) -> Decision:
    """What to do after the last of these passes (at least one)."""
    figure, last = passes[-1].bandwidth_bytes_per_s, passes[-1]._replace(bandwidth_bytes_per_s=_rate(passes))
    passes = (*passes[:-1], last)
    now, soon = predicted_ms(last, goals.fixed_ms), goals.fixed_ms + _next_rest_ms(passes)
    stalled = _stalled_passes(passes)
    fits = now <= goals.max_blackout_ms
    enough = MARGIN * (now - goals.fixed_ms) + 5
    short = min(goals.fixed_ms + SHORT_MS, goals.max_blackout_ms)
    if min(now, soon) <= short:
        return _switch_soon(passes, goals, now if now <= short else soon, figure)
    if fits and stalled >= STALLED_PASSES:
        return _switch(last, goals, enough, f"{stalled} passes brought no improvement, {now:.0f} ms fits the goal")
    if fits and _is_late(passes, goals):
        return _switch(last, goals, enough, f"the deadline is near, {now:.0f} ms fits the goal")
    is_long = _long_passes(passes) >= MOST_PASSES
    if fits and is_long:
        return _switch(last, goals, enough, f"{len(passes)} passes are enough, {now:.0f} ms fits the goal")
    if is_long or _is_over(last, goals) or (not fits and _is_lost(passes, goals)):
        return _because(Action.give_up, now, last, _give_up(passes, goals))
    if _is_in_vain(passes, goals):
        return _because(Action.give_up, now, last, _give_up(passes, goals))
    if not fits and (stalled >= THROTTLE_AFTER or _will_be_late(passes, goals)):
        return _throttle(passes, goals, now)
    less = _enough_percent(passes, goals)
    if less < last.throttle_percent and _is_calm(passes):
        return Decision(Action.relax, f"passes get much shorter: slowed down by {less} % only", now, 0, less)
    return _because(Action.hold, now, last, f"{now:.0f} ms is predicted, another pass may shorten it")


def _rate(passes: Sequence[Sample]) -> int:
    """Of the stream, by a pass that was long enough to tell; else the best that was told lately.

    A stream that has really become so much slower switches nothing over too soon: QEMU goes by its own figure.
    """
    last = passes[-1]
    if _took_ms(passes) >= 1000 * TELLING_S:
        return last.bandwidth_bytes_per_s
    return max(each.bandwidth_bytes_per_s for each in passes if each.elapsed_s >= last.elapsed_s - LATELY_S)


def _because(action: Action, now_ms: float, last: Sample, reason: str) -> Decision:
    return Decision(action, reason, now_ms, 0, last.throttle_percent)


def _switch(last: Sample, goals: Goals, wanted_ms: float, reason: str) -> Decision:
    now_ms = predicted_ms(last, goals.fixed_ms)
    return Decision(Action.switch, reason, now_ms, limit_ms(wanted_ms, goals), last.throttle_percent)


def _switch_soon(passes: Sequence[Sample], goals: Goals, blackout_ms: float, figure: int) -> Decision:
    """What remains is short, or will be when the pass ends that has begun: a still shorter one is worth waiting for.

    But not for ever: where two short passes took about the same time, the next ones will, too. And not at the cost of a
    guest that is slowed down: what QEMU's figure for the stream is too low by, its limit is wider by.
    """
    last = passes[-1]
    wanted_ms = max(FIRST_MS, MARGIN * _floor_ms(passes))
    why = "and passes leave no less" if wanted_ms > FIRST_MS else "which is short"
    if last.throttle_percent > NEVER_PERCENT:
        wanted_ms *= last.bandwidth_bytes_per_s / max(figure, 1)
    reason = f"a blackout of {blackout_ms:.0f} ms is predicted, {why}"
    return Decision(Action.switch, reason, blackout_ms, limit_ms(wanted_ms, goals), last.throttle_percent)


def _throttle(passes: Sequence[Sample], goals: Goals, now_ms: float) -> Decision:
    """As much as lets each pass halve the rest; more, if that was tried and did not help."""
    last, had = passes[-1], passes[-1].throttle_percent
    is_first = had <= NEVER_PERCENT
    shown = _passes_slowed(passes) >= (THROTTLE_AFTER if goals.deadline_s is None else HURRIED_AFTER)
    if had >= THROTTLE_MOST or not (is_first or shown):
        return _because(
            Action.hold, now_ms, last, f"{now_ms:.0f} ms is predicted; slowed down by {had} %, which shows late"
        )
    more = max(_needed_percent(passes, goals), THROTTLE_LEAST if is_first else had + (100 - had) / 2)
    is_last = _time_left_s(last, goals) < LAST_STEP * _next_pass_s(last)
    percent = THROTTLE_MOST if is_last else min(THROTTLE_MOST, round(more))
    reason = (
        f"the guest dirties {size(last.dirty_bytes_per_s)}/s over a stream of "
        f"{size(last.bandwidth_bytes_per_s)}/s: slowed down by {percent} %"
    )
    if is_first and len(passes) == 1:
        reason += ", unless the next pass leaves much less"
    return Decision(Action.throttle, reason, now_ms, 0, percent, SHRINKS_PERCENT if is_first else 1)


def _passes_slowed(passes: Sequence[Sample]) -> int:
    """Whole ones in which the guest was slowed down as it is now: QEMU changes that where one ends."""
    alike = 0
    for each in reversed(passes):
        if each.throttle_percent != passes[-1].throttle_percent:
            break
        alike += 1
    return alike - 1


def _needed_percent(passes: Sequence[Sample], goals: Goals) -> float:
    """With that each pass would halve the rest; with a deadline, even if the guest writes faster than is known."""
    last = passes[-1]
    during = min(each.throttle_percent for each in passes[-2:])
    busy = max(each.vcpu_share for each in passes)
    took_s = _took_ms(passes) / 1000
    wrote = last.remaining_bytes / took_s if took_s else last.dirty_bytes_per_s
    is_whole = last.remaining_bytes >= WHOLE * max(each.remaining_bytes for each in passes)
    if is_whole and goals.deadline_s is not None:
        wrote = BOLD * max(wrote, SHRINKS_PERCENT / 100 * last.bandwidth_bytes_per_s)
    unslowed = wrote / slowed(during, busy)
    return 100 - 100 * busy * CONVERGING * last.bandwidth_bytes_per_s / max(unslowed, 1)


def _enough_percent(passes: Sequence[Sample], goals: Goals) -> int:
    """At least half of what it is."""
    least = passes[-1].throttle_percent // 2
    enough = max(least, math.ceil(_needed_percent(passes, goals)))
    return enough if enough > NEVER_PERCENT else 0


def _stalled_passes(passes: Sequence[Sample]) -> int:
    """Passes since the rest last improved by more than a tenth."""
    best, since = passes[0].remaining_bytes, 0
    for each in passes[1:]:
        now = each.remaining_bytes
        best, since = (now, 0) if now < 0.9 * best else (best, since + 1)
    return since


def _next_pass_s(last: Sample) -> float:
    return last.remaining_bytes / max(last.bandwidth_bytes_per_s, 1)


def _took_ms(passes: Sequence[Sample]) -> float:
    """How long the last pass took; 0 where that is not known."""
    last, before = passes[-1], passes[-2] if len(passes) > 1 else Sample(0, 0, 0, 0)
    return max(0.0, 1000 * (last.elapsed_s - before.elapsed_s) / max(last.pass_number - before.pass_number, 1))


def _floor_ms(passes: Sequence[Sample]) -> float:
    """What short passes left that do not shrink any more, by the time it took to send; 0: they shrink, or are long.

    What QEMU tells of them comes too late: the next pass has sent it by then.
    """
    if len(passes) < 3:
        return 0.0
    before_ms, last_ms = _took_ms(passes[:-1]), _took_ms(passes)
    return last_ms if before_ms <= SHORT_MS and SHRINKING * before_ms < last_ms <= SHORT_MS else 0.0


def _next_rest_ms(passes: Sequence[Sample]) -> float:
    """What the next pass leaves if the guest dirties as fast as in the last one; infinite where that takes long."""
    last, took_s = passes[-1], _took_ms(passes) / 1000
    if not took_s or _next_pass_s(last) > SOON_S:
        return math.inf
    return predicted_ms(last, 0.0) * last.remaining_bytes / took_s / max(last.bandwidth_bytes_per_s, 1)


def _long_passes(passes: Sequence[Sample]) -> int:
    """Short ones come in numbers while QEMU looks for one that it may end with."""
    return sum(predicted_ms(each, 0.0) > SHORT_MS for each in passes)


def _is_over(last: Sample, goals: Goals) -> bool:
    return goals.deadline_s is not None and last.elapsed_s >= goals.deadline_s


def _time_left_s(last: Sample, goals: Goals) -> float:
    return math.inf if goals.deadline_s is None else goals.deadline_s - last.elapsed_s


def _is_lost(passes: Sequence[Sample], goals: Goals) -> bool:
    """The pass that has begun would end after the deadline."""
    last = passes[-1]
    left = last.remaining_bytes - _allowed_bytes(last, goals)
    return _time_left_s(last, goals) * last.bandwidth_bytes_per_s < left


def _allowed_bytes(last: Sample, goals: Goals) -> float:
    """May remain when the vCPUs stop."""
    return max(goals.max_blackout_ms - goals.fixed_ms, 1) / 1000 * last.bandwidth_bytes_per_s


def _is_in_vain(passes: Sequence[Sample], goals: Goals) -> bool:
    """The guest can be slowed down no further, and passes in which it was get no shorter; none would have fitted."""
    if passes[-1].throttle_percent < THROTTLE_MOST:
        return False
    slow = passes[len(passes) - 1 - _passes_slowed(passes) :]
    least = min(each.remaining_bytes for each in slow)
    could_fit = goals.fixed_ms + 1000 * least / max(slow[-1].bandwidth_bytes_per_s, 1) <= goals.max_blackout_ms
    return not could_fit and _stalled_passes(slow) >= STALLED_PASSES


def _is_late(passes: Sequence[Sample], goals: Goals) -> bool:
    """No time for two more passes."""
    last = passes[-1]
    return goals.deadline_s is not None and last.elapsed_s + 2 * _next_pass_s(last) >= goals.deadline_s


def _will_be_late(passes: Sequence[Sample], goals: Goals) -> bool:
    """If every pass to come is to the one before as the last one was, the rest does not fit when the time is over.

    What the first pass leaves tells nothing of that: it is feared that the next ones leave as much.
    """
    if goals.deadline_s is None:
        return False
    if len(passes) == 1:
        return _time_left_s(passes[-1], goals) < PATIENCE * _next_pass_s(passes[-1])
    last, before = passes[-1], passes[-2]
    ratio = last.remaining_bytes / max(before.remaining_bytes, 1)
    if ratio >= 1:
        return True
    wanted = _allowed_bytes(last, goals)
    left, needed_s = float(last.remaining_bytes), 0.0
    while left > wanted and needed_s < goals.deadline_s:
        needed_s, left = needed_s + left / max(last.bandwidth_bytes_per_s, 1), left * ratio
    return last.elapsed_s + needed_s > goals.deadline_s


def _is_calm(passes: Sequence[Sample]) -> bool:
    """While it was slowed down as it is now."""
    return (
        len(passes) > 1
        and _passes_slowed(passes) > 0
        and passes[-1].remaining_bytes < CALM * passes[-2].remaining_bytes
    )


def _give_up(passes: Sequence[Sample], goals: Goals) -> str:
    last = passes[-1]
    how = f", slowed down by {last.throttle_percent} %," if last.throttle_percent > NEVER_PERCENT else ""
    return (
        f"the guest{how} dirties {size(last.dirty_bytes_per_s)}/s over a stream of "
        f"{size(last.bandwidth_bytes_per_s)}/s, so that after {len(passes)} passes and {last.elapsed_s:.0f} s a "
        f"blackout of {predicted_ms(last, goals.fixed_ms):.0f} ms would be needed and {goals.max_blackout_ms} ms is "
        f"allowed: allow more with --max-blackout or --deadline, or move the VM at a quieter time"
    )

"""When to stop the source's vCPUs: samples of the copying in, one decision with its reason out."""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum
from typing import NamedTuple

FIXED_MS = 15.0
"""Blackout that does not depend on what remains: saving and loading devices, and the token's way."""
GOOD_MS = 50.0
"""A predicted blackout this short is not worth another pass."""
STALLED_PASSES = 3
"""Passes without a tenth of improvement after which more of them are waste."""
MOST_PASSES = 40
MARGIN = 1.3
"""The switch-over is allowed for this much more than predicted: the last pass dirties too."""


class Sample(NamedTuple):
    """What remained when a pass ended."""

    pass_number: int
    remaining_bytes: int
    bandwidth_bytes_per_s: int
    dirty_bytes_per_s: int


class Action(StrEnum):
    """What the governor may do."""

    hold = "hold"
    switch = "switch"
    give_up = "give-up"


class Decision(NamedTuple):
    """One action and why."""

    action: Action
    reason: str
    predicted_ms: float
    downtime_ms: int = 1
    """For QEMU's downtime-limit, when switching."""


def predicted_ms(sample: Sample) -> float:
    """Blackout if the vCPUs stopped now: the fixed part and the rest over the bandwidth."""
    return FIXED_MS + 1000 * sample.remaining_bytes / max(sample.bandwidth_bytes_per_s, 1)


def decide(passes: Sequence[Sample], *, max_blackout_ms: int) -> Decision:
    """What to do after the last of these passes (at least one), each taken when a pass ended."""
    now = predicted_ms(passes[-1])
    fits = now <= max_blackout_ms
    if now <= min(GOOD_MS, max_blackout_ms):
        return _switch(now, max_blackout_ms, f"a blackout of {now:.0f} ms is predicted, which is short")
    stalled = _stalled_passes(passes)
    if stalled >= STALLED_PASSES and fits:
        return _switch(now, max_blackout_ms, f"{stalled} passes brought no improvement, {now:.0f} ms fits the goal")
    if len(passes) >= MOST_PASSES:
        return Decision(Action.give_up, _give_up(passes, max_blackout_ms), now)
    return Decision(Action.hold, f"{now:.0f} ms is predicted, another pass may shorten it", now)


def _switch(now_ms: float, max_blackout_ms: int, reason: str) -> Decision:
    return Decision(Action.switch, reason, now_ms, max(1, min(round(MARGIN * now_ms) + 5, max_blackout_ms)))


def _stalled_passes(passes: Sequence[Sample]) -> int:
    """Passes since the prediction last improved by more than a tenth."""
    best, since = predicted_ms(passes[0]), 0
    for each in passes[1:]:
        now = predicted_ms(each)
        best, since = (now, 0) if now < 0.9 * best else (best, since + 1)
    return since


def _give_up(passes: Sequence[Sample], max_blackout_ms: int) -> str:
    last = passes[-1]
    return (
        f"the guest dirties {last.dirty_bytes_per_s / 1e6:.0f} MB/s over a stream of "
        f"{last.bandwidth_bytes_per_s / 1e6:.0f} MB/s, so that after {len(passes)} passes a blackout of "
        f"{predicted_ms(last):.0f} ms would be needed and {max_blackout_ms} ms is allowed: allow more with "
        f"--max-blackout, or move the VM at a quieter time"
    )

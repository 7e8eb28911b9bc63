"""Where a value lies on an axis: logarithmic for latency, linear for time."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from godwit.client.picture_values import Mark, Series

STEPS_S = (0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 30, 60, 120, 300, 600, 1800, 3600)


@dataclass(frozen=True)
class Axes:
    """The stretch of time and the decades of latency that a picture covers."""

    start_ms: float
    end_ms: float
    low: int
    """Exponents of ten, in milliseconds."""
    high: int

    def across(self, at_ms: float) -> float:
        """0 at the left edge, 1 at the right one; never outside."""
        return min(max((at_ms - self.start_ms) / (self.end_ms - self.start_ms), 0.0), 1.0)

    def up(self, latency_ms: float) -> float:
        """0 at the bottom, 1 at the top; never outside."""
        exponent = math.log10(max(latency_ms, 10.0**self.low))
        return min((exponent - self.low) / (self.high - self.low), 1.0)

    def decades(self) -> list[tuple[float, str]]:
        """The values at which a line is drawn, and their names."""
        return [(10.0**exponent, duration(10.0**exponent)) for exponent in range(self.low, self.high + 1)]

    def step_ms(self, most: int) -> float:
        """A round distance between ticks of time, so that there are not more than that many."""
        span_s = (self.end_ms - self.start_ms) / 1000.0
        return next((step for step in STEPS_S if span_s / step <= most), span_s) * 1000.0


def axes(series: Sequence[Series], marks: Sequence[Mark]) -> Axes | None:
    """What is needed to show all of it; none when there is nothing to show."""
    points = [point for each in series for point in each.points]
    if not points:
        return None
    times = [at_ms for at_ms, _ in points] + [at for mark in marks for at in (mark.start_ms, mark.end_ms)]
    latencies = [max(latency_ms, 0.1) for _, latency_ms in points]
    low = math.floor(math.log10(min(latencies)))
    high = max(math.ceil(math.log10(max(latencies))), low + 1)
    return Axes(start_ms=min(times), end_ms=max(max(times), min(times) + 1.0), low=low, high=high)


def envelope(series: Series, frame: Axes, columns: int) -> dict[int, tuple[float, float]]:
    """Column -> lowest and highest latency in it; columns without an answer are absent."""
    found: dict[int, tuple[float, float]] = {}
    for at_ms, latency_ms in series.points:
        column = min(int(frame.across(at_ms) * columns), columns - 1)
        low, high = found.get(column, (latency_ms, latency_ms))
        found[column] = (min(low, latency_ms), max(high, latency_ms))
    return found


def duration(value_ms: float) -> str:
    """For people: `0.1 ms`, `40 ms`, `2.5 s`."""
    return f"{value_ms:.3g} ms" if value_ms < 1000.0 else f"{value_ms / 1000.0:.3g} s"

"""How a guest writes: a model, and what samples tell of it.

The guest is modelled by how many bytes it dirties within a time: D(t) = W f(r t / W), which begins at the rate `r` and
ends at the working set `W` that it writes over and over, at random or in turn (`SHAPES`). Samples of different lengths
tell all of it.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Sequence
from typing import NamedTuple

from godwit.core.model import Fact

NOISE = 0.005
"""Of what samples hold on average: models whose errors differ by less explain them equally well."""
DOUBT = 0.05
"""Of the same: a guest that goes round and round, as most do that write much, and does so in bursts, looks by chance
like one that writes at random; which it is taken for only where that explains so much more."""
_TURNS = tuple(0.01 * 1.06**each for each in range(150))
"""How often a guest may write as much as its working set within the longest sample: 0.01 to 60 times."""


class Dirtied(Fact):
    """How many bytes the guest had dirtied after that time, each page counted once."""

    seconds: float
    bytes: int


Shape = Callable[[float], float]
"""The part of its working set that a guest has dirtied when it has written so many times as much as that holds."""


def at_random(times: float) -> float:
    """It writes here and there, and meets pages that it has dirtied already."""
    return -math.expm1(-times)


def in_turn(times: float) -> float:
    """It goes round and round."""
    return min(times, 1.0)


SHAPES: tuple[Shape, ...] = (at_random, in_turn)


class Dirtying(NamedTuple):
    """How the guest writes."""

    bytes_per_s: float
    """At first."""
    working_set_bytes: float
    shape: Shape = at_random

    def within(self, seconds: float) -> float:
        """Bytes dirtied in that time, each page counted once."""
        if self.working_set_bytes <= 0:
            return 0.0
        return self.working_set_bytes * self.shape(self.bytes_per_s * seconds / self.working_set_bytes)


def dirtying(samples: Sequence[Dirtied], *, memory_bytes: int) -> Dirtying:
    """The model that the samples fit best; with one, as if it wrote ever new pages.

    Of those that fit about equally well it is the slowest: where every sample saw all that the guest writes over and
    over, they do not tell how fast it does.
    """
    told = sorted((each for each in samples if each.seconds > 0), key=lambda each: each.seconds)
    if not told or not any(each.bytes for each in told):
        return Dirtying(0.0, 0.0)
    if told[0].seconds == told[-1].seconds:
        return Dirtying(told[0].bytes / told[0].seconds, float(memory_bytes))
    steady = Dirtying(_slope(told), float(memory_bytes))
    known = [steady, *(_fitted(told, shape, x) for shape in SHAPES for x in _TURNS)]
    known = [each for each in known if 0 < each.working_set_bytes <= memory_bytes]
    usual = statistics.fmean(each.bytes for each in told)
    errors = [_error(each, told) + (DOUBT * usual if each.shape is at_random else 0.0) for each in known]
    enough = min(errors) + NOISE * usual
    return min(
        (each for each, error in zip(known, errors, strict=True) if error <= enough),
        key=lambda each: each.bytes_per_s,
    )


def _slope(told: Sequence[Dirtied]) -> float:
    return sum(each.bytes * each.seconds for each in told) / sum(each.seconds**2 for each in told)


def _fitted(told: Sequence[Dirtied], shape: Shape, x: float) -> Dirtying:
    """The working set by least squares, if the guest writes as much as it has `x` times within the longest sample."""
    longest_s = told[-1].seconds
    parts = [shape(x * each.seconds / longest_s) for each in told]
    squares = sum(each * each for each in parts)
    working_set = sum(part * each.bytes for part, each in zip(parts, told, strict=True)) / squares
    return Dirtying(working_set * x / longest_s, working_set, shape)


def _error(model: Dirtying, told: Sequence[Dirtied]) -> float:
    return math.sqrt(statistics.fmean((model.within(each.seconds) - each.bytes) ** 2 for each in told))

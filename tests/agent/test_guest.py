"""A guest's clock is set forward by what a move took from it, and left alone otherwise."""

from __future__ import annotations

import pytest

from godwit.agent.guest import _set
from godwit.core.guest import GuestClock
from godwit.qemu.guest_agent import GuestAgent


class Guest(GuestAgent):
    """Shows what it is told to show, and the last of it again and again."""

    def __init__(self, *skews_ms: float) -> None:
        self._skews_ms = list(skews_ms)
        self.sets = 0

    async def skew_ms(self, readings: int = 2) -> tuple[float, float]:
        return (self._skews_ms.pop(0) if len(self._skews_ms) > 1 else self._skews_ms[0]), 0.5

    async def set_clock(self, *, later_ms: float) -> None:
        self.sets += 1


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("skews_ms", "sets", "expected"),
    [
        ((-3.0,), 0, GuestClock(skew_ms=-3.0, error_ms=0.5)),
        ((-40.0, -0.5), 1, GuestClock(skew_ms=-40.0, error_ms=0.5, left_ms=-0.5)),
        ((-40.0, -30.0, -0.5), 2, GuestClock(skew_ms=-40.0, error_ms=0.5, left_ms=-0.5)),
        ((-40.0,), 3, GuestClock(skew_ms=-40.0, error_ms=0.5, left_ms=-40.0)),
        ((60.0,), 0, GuestClock(skew_ms=60.0, error_ms=0.5, why="it is ahead, and no clock is set back")),
        (
            (-5000.0,),
            0,
            GuestClock(skew_ms=-5000.0, error_ms=0.5, why="it is further behind than the move can have put it"),
        ),
    ],
)
async def test_a_clock(skews_ms: tuple[float, ...], sets: int, expected: GuestClock) -> None:
    guest = Guest(*skews_ms)
    assert await _set(guest, 1300.0) == expected
    assert guest.sets == sets

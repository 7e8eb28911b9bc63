"""What `make bench-network` reads from what its clients saw."""

from __future__ import annotations

from benchmarks.network_runs import _waits


def test_what_was_over_before_stop_is_no_stall_of_the_hand_over() -> None:
    points = [(900.0, 300.0), (1500.0, 75.0), (2000.0, 1.0), (2060.0, 58.0), (2070.0, 2.0)]

    assert _waits(points, 2000.0, since_ms=1000.0) == {"stall_ms": 58.0, "hold_ms": 75.0}

"""What samples tell of how a guest writes."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from godwit.core.dirtying import SHAPES, Dirtied, Dirtying, Shape, dirtying, in_turn

MB = 10**6
MEMORY = 256 * 2**20


def seen(truth: Dirtying, *seconds: float) -> list[Dirtied]:
    return [Dirtied(seconds=each, bytes=round(truth.within(each))) for each in seconds]


@given(st.sampled_from(SHAPES), st.floats(1e6, 1e9), st.floats(1e6, 1e9), st.floats(0.05, 1.0), st.floats(2.0, 10.0))
def test_two_samples_are_met(shape: Shape, rate: float, working_set: float, short: float, times: float) -> None:
    told = seen(Dirtying(rate, working_set, shape), short, short * times)

    model = dirtying(told, memory_bytes=2**32)

    most = max(each.bytes for each in told)
    for each in told:
        assert model.within(each.seconds) == pytest.approx(each.bytes, abs=0.1 * most + 4096)


def test_passes_of_all_lengths_tell_rate_and_working_set() -> None:
    model = dirtying(seen(Dirtying(20 * MB, 64 * MB, in_turn), 5.0, 1.3, 0.5, 0.2, 0.08), memory_bytes=MEMORY)

    assert model.bytes_per_s == pytest.approx(20 * MB, rel=0.05)
    assert model.working_set_bytes == pytest.approx(64 * MB, rel=0.05)


def test_samples_that_all_saw_the_whole_working_set_do_not_make_the_guest_a_fast_one() -> None:
    told = [
        Dirtied(seconds=s, bytes=round(mb * MB)) for s, mb in ((3.5, 30.4), (0.62, 30.2), (0.6, 30.5), (0.61, 30.3))
    ]

    model = dirtying(told, memory_bytes=MEMORY)

    assert model.working_set_bytes == pytest.approx(30.4 * MB, rel=0.05)
    assert model.bytes_per_s == pytest.approx(30.4 * MB / 0.6, rel=0.1), "the slowest that explains what was seen"


def test_one_sample_is_taken_for_ever_new_pages() -> None:
    model = dirtying([Dirtied(seconds=0.5, bytes=10 * MB)], memory_bytes=MEMORY)

    assert model.bytes_per_s == 20 * MB
    assert model.within(1000) == pytest.approx(MEMORY)


def test_nothing_measured_is_a_guest_that_stands_still() -> None:
    assert dirtying([], memory_bytes=MEMORY).within(10) == 0
    assert dirtying([Dirtied(seconds=1.0, bytes=0)], memory_bytes=MEMORY).within(10) == 0


def test_bursts_that_look_a_little_like_writing_at_random_are_not_taken_for_it() -> None:
    """What passes of a guest told that writes 6 MB each tenth of a second, round and round in 32 MB."""
    told = ((1.621, 32.9), (0.298, 13.9), (0.13, 6.9))

    model = dirtying([Dirtied(seconds=each, bytes=round(size * MB)) for each, size in told], memory_bytes=MEMORY)

    assert model.shape is in_turn

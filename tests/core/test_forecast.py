"""What a move will take, on made-up guests."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from godwit.core.convergence import FIXED_MS, Action
from godwit.core.dirtying import Dirtied, Dirtying, in_turn
from godwit.core.errors import Refused
from godwit.core.forecast import (
    AROUND_MS,
    LEAST_FIXED_MS,
    NOTHING,
    THOROUGH_MS,
    Grounds,
    Measured,
    Past,
    copying_s,
    goals,
    grounds,
    play,
    refuse,
)
from godwit.core.migration import MigrationRequest
from godwit.core.model import Accelerator

MB = 10**6
MEMORY = 256 * 2**20


def wants(**goals_: object) -> MigrationRequest:
    return MigrationRequest.model_validate({"vm": "web", **goals_})


def guest(rate_mb_s: float, working_set_mb: float, *, stream_mb_s: float = 100, first_mb: int = 100) -> Grounds:
    writes = Dirtying(rate_mb_s * MB, working_set_mb * MB)
    return Grounds(
        first_mb * MB, writes, stream_mb_s * MB, fixed_ms=10, around_ms=1000, warm_up_ms=55, least_fixed_ms=10
    )


def test_an_idle_guest_is_sent_once() -> None:
    here = guest(0, 0)

    told = play(here, goals(wants(), here)).forecast

    assert (told.passes, told.transferred_bytes) == (1, 100 * MB)
    assert told.total_ms == pytest.approx(1000 + 1000 + 10, abs=5)
    assert (told.blackout_ms, told.stall_ms) == (10, 65)


def test_a_busy_guest_takes_more_passes_and_its_rest_shrinks_to_next_to_nothing() -> None:
    here = guest(20, 64)

    told = play(here, goals(wants(), here)).forecast

    assert 3 <= (told.passes or 0) <= 6
    assert told.blackout_ms == pytest.approx(10, abs=5)


@pytest.mark.parametrize(
    ("rate", "working_set", "stream", "total_s"),
    [(20, 64, 112, 2.50), (20, 64, 75, 3.69), (20, 64, 50, 6.4), (60, 32, 112, 2.81), (60, 32, 75, 4.95)],
)
def test_moves_that_were_measured(rate: float, working_set: float, stream: float, total_s: float) -> None:
    """Of a guest of 256 MiB that wrote in turn; 173 MB in the first pass, medians of four moves each."""
    writes = Dirtying(rate * MB, working_set * MB, in_turn)
    here = Grounds(173 * MB, writes, stream * MB, fixed_ms=8, around_ms=550, warm_up_ms=55)

    told = play(here, goals(wants(), here)).forecast

    assert told.total_ms == pytest.approx(1000 * total_s, rel=0.1)


def test_waiting_for_a_shorter_rest_takes_little() -> None:
    patient = guest(20, 64, first_mb=10)
    told = play(patient, goals(wants(), patient)).forecast

    assert (told.total_ms or 0) - 1000 - 100 - 10 < 200


def test_the_guest_is_slowed_down_late_as_qemu_does_it() -> None:
    here = guest(60, 32, stream_mb_s=50)._replace(dirtying=Dirtying(60 * MB, 32 * MB, in_turn))

    course = play(here, goals(wants(), here))

    slowed = next(each for each in course.samples if each.throttle_percent)
    assert slowed.elapsed_s > 3, "after the first pass it takes two looks, with a second or more between them"


def test_a_guest_that_dirties_faster_than_the_link_is_slowed_down() -> None:
    here = guest(300, 200)

    course = play(here, goals(wants(), here))

    assert course.last.action is Action.switch
    assert course.forecast.throttle_percent >= 70
    refuse(course, wants(), here)


def test_a_deadline_that_leaves_no_time_is_refused_with_numbers() -> None:
    here = guest(300, 200)
    request = wants(deadline_s=2)

    with pytest.raises(Refused, match=r"--deadline 2 s: it needs [3-9]\.\d s, 95\.4 MiB over 95\.4 MiB/s"):
        refuse(play(here, goals(request, here)), request, here)


def test_a_deadline_leaves_time_for_what_comes_after_the_copying() -> None:
    assert copying_s(wants(), elapsed_s=1) is None
    assert copying_s(wants(deadline_s=10), elapsed_s=1) == pytest.approx(10 - 1 - 2)
    assert copying_s(wants(deadline_s=45), elapsed_s=3) == pytest.approx(45 - 3 - 4.5)
    assert copying_s(wants(deadline_s=900), elapsed_s=3) == pytest.approx(900 - 3 - 6)


def test_looking_closer_for_a_deadline_takes_time_itself() -> None:
    plain, hurried = (
        grounds(NOTHING, [], memory_bytes=MEMORY, accelerator=Accelerator.tcg, request=each)
        for each in (wants(), wants(deadline_s=60))
    )

    assert hurried.around_ms == plain.around_ms + THOROUGH_MS


def test_a_blackout_below_the_fixed_part_is_refused_with_numbers() -> None:
    here = guest(0, 0)
    request = wants(max_blackout_ms=5)

    with pytest.raises(Refused, match="--max-blackout 5 ms: saving and loading its devices takes 10 ms"):
        refuse(play(here, goals(request, here)), request, here)


def past(**figures: object) -> Past:
    usual = {
        "same_vm": True,
        "alike": True,
        "around_ms": 800.0,
        "fixed_ms": 8.0,
        "stream_bytes_per_s": 90.0 * MB,
        "sent_bytes": 117 * MB,
        "dirtied": (Dirtied(seconds=1.0, bytes=1 * MB),),
    }
    return Past(**{**usual, **figures})  # type: ignore[arg-type]


def given_(measured: Measured, *earlier: Past, cap: int | None = None) -> Grounds:
    return grounds(
        measured, earlier, memory_bytes=MEMORY, accelerator=Accelerator.tcg, request=wants(bandwidth_bytes_per_s=cap)
    )


def test_without_a_past_what_was_measured_counts() -> None:
    here = given_(Measured(link_bytes_per_s=100 * MB, resident_bytes=50 * MB))

    assert (here.first_bytes, here.fixed_ms, here.around_ms) == (50 * MB, FIXED_MS, AROUND_MS)
    assert here.stream_bytes_per_s == pytest.approx(94 * MB)


def test_the_first_move_is_as_fast_as_processors_and_slower_if_it_is_encrypted() -> None:
    def first(accelerator: Accelerator, *, plaintext: bool) -> float:
        link, request = Measured(link_bytes_per_s=5000 * MB), wants(plaintext=plaintext)
        found = grounds(link, [], memory_bytes=MEMORY, accelerator=accelerator, request=request)
        return found.stream_bytes_per_s

    assert first(Accelerator.tcg, plaintext=False) < first(Accelerator.tcg, plaintext=True)
    assert first(Accelerator.tcg, plaintext=True) < first(Accelerator.kvm, plaintext=True)


def test_earlier_moves_correct_what_was_measured() -> None:
    here = given_(Measured(link_bytes_per_s=100 * MB, resident_bytes=50 * MB), past(), past(fixed_ms=13.0))

    assert (here.first_bytes, here.stream_bytes_per_s, here.around_ms) == (117 * MB, 90 * MB, 800)
    assert 8 < here.fixed_ms < 13


def test_a_fixed_part_that_is_not_known_is_not_nothing() -> None:
    assert given_(NOTHING, past(fixed_ms=0.0)).fixed_ms == FIXED_MS
    assert given_(NOTHING, past(fixed_ms=0.5)).fixed_ms == LEAST_FIXED_MS


def test_one_move_in_a_busy_moment_does_not_forbid_the_next() -> None:
    here = given_(NOTHING, past(fixed_ms=438.0))
    course = play(here, goals(wants(), here))

    refuse(course, wants(), here)
    assert course.forecast.blackout_ms == pytest.approx(12, abs=3)


def test_blackouts_that_were_always_long_are_told_and_the_shortest_is_what_can_be_promised() -> None:
    here = given_(NOTHING, *(past(fixed_ms=each) for each in (380.0, 400.0, 420.0)))

    assert (here.fixed_ms, here.least_fixed_ms) == (400, 380)
    assert goals(wants(max_blackout_ms=390), here).fixed_ms == 380
    with pytest.raises(Refused, match="devices takes 380 ms"):
        refuse(play(here, goals(wants(), here)), wants(), here)


def test_the_fixed_part_is_told_by_moves_that_were_alike_encrypted_if_there_are_any() -> None:
    slow, quick = past(fixed_ms=40.0, around_ms=1500.0, alike=False), past(fixed_ms=8.0)

    assert given_(NOTHING, slow, quick, quick, quick).fixed_ms == 8
    assert given_(NOTHING, slow, slow, slow).fixed_ms == 40
    assert given_(NOTHING, quick, slow).around_ms == quick.around_ms


WRITES = Dirtying(20.0 * MB, 64.0 * MB, in_turn)


def written(*seconds: float) -> tuple[Dirtied, ...]:
    return tuple(Dirtied(seconds=each, bytes=round(WRITES.within(each))) for each in seconds)


def test_the_passes_of_the_last_move_tell_how_the_guest_writes() -> None:
    here = given_(NOTHING, past(dirtied=written(5.0, 1.2, 0.4, 0.01)))

    for seconds in (0.5, 1.0, 2.0, 4.0):
        assert here.dirtying.within(seconds) == pytest.approx(WRITES.within(seconds), rel=0.1)


def test_a_sample_that_fits_the_last_move_needs_no_second_one() -> None:
    earlier = past(dirtied=written(5.0, 1.2))
    same, busier = (Measured(dirtied=(Dirtied(seconds=0.1, bytes=round(factor * 2 * MB)),)) for factor in (1.1, 4.0))

    assert given_(same, earlier).dirtying.working_set_bytes == pytest.approx(64 * MB, rel=0.1)
    assert given_(busier, earlier).dirtying == Dirtying(80.0 * MB, MEMORY)


def test_a_guest_that_has_calmed_down_does_not_write_as_before() -> None:
    earlier = past(dirtied=written(5.0, 1.2), vcpu_share=0.6)

    def told(cpus: float | None) -> float:
        return given_(Measured(vcpu_share=cpus), earlier).dirtying.bytes_per_s

    busy = told(0.6)
    assert busy == told(None) == told(0.4) == told(0.9) > 10 * MB
    assert told(0.03) == pytest.approx(busy / 20)


def test_moves_of_other_vms_tell_of_the_link_only() -> None:
    here = given_(Measured(resident_bytes=50 * MB), past(same_vm=False))

    assert (here.first_bytes, here.stream_bytes_per_s, here.dirtying.bytes_per_s) == (50 * MB, 90 * MB, 0)


def test_a_cap_is_a_cap() -> None:
    assert given_(Measured(link_bytes_per_s=100 * MB), past(), cap=20 * MB).stream_bytes_per_s == 20 * MB


@given(st.floats(0, 2e9), st.floats(0, 4e9), st.floats(1e5, 1e10), st.integers(0, 2**34), st.floats(0.1, 1e4))
def test_every_forecast_ends(rate: float, working_set: float, stream: float, first: int, deadline: float) -> None:
    here = Grounds(first, Dirtying(rate, working_set), stream, 10, 1000, 55)

    course = play(here, goals(wants(deadline_s=deadline), here))

    assert course.last.action in {Action.switch, Action.give_up}
    assert course.forecast.total_ms is not None

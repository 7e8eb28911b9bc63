"""Which migrations may start: as many on a line as still converge, the shortest first."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from godwit.core.report import PassReport
from godwit.core.schedule import (
    MOST_ON_A_LINE,
    MOST_ON_UNKNOWN,
    MOST_OVERTAKEN,
    Line,
    Wish,
    dirty_rate_of,
    passed_by,
    rate_of,
    startable,
)

FAST = {Line("host-a", "out"): 100_000_000, Line("host-b", "in"): 100_000_000}


def wish(id: str, size: int = 1, *, to: str = "host-b", dirty: int = 0, parallel: int | None = None) -> Wish:
    return Wish(id, source="host-a", destination=to, size_bytes=size, dirty_bytes_per_s=dirty, parallel=parallel)


def aged(wish: Wish) -> Wish:
    return wish._replace(overtaken=MOST_OVERTAKEN)


def test_the_shortest_start_first() -> None:
    waiting = [wish("large", 9), wish("small", 1), wish("middle", 5)]

    assert startable(waiting, [], {}) == ["small", "middle"]


def test_what_moves_already_counts() -> None:
    assert startable([wish("b")], [wish("a"), wish("x")], {}) == []
    assert startable([wish("b")], [wish("a")], {}) == ["b"]


def test_a_line_whose_rate_is_known_carries_more() -> None:
    waiting = [wish(str(number)) for number in range(9)]

    assert len(startable(waiting, [], {})) == MOST_ON_UNKNOWN
    assert len(startable(waiting, [], FAST)) == MOST_ON_A_LINE


def test_each_share_must_carry_twice_what_its_guest_dirties() -> None:
    quiet, busy = wish("quiet", 1, dirty=1_000_000), wish("busy", 2, dirty=30_000_000)

    assert startable([busy], [], FAST) == ["busy"]
    assert startable([quiet, busy], [], FAST) == ["quiet"]
    assert startable([quiet], [busy], FAST) == []


def test_one_alone_always_starts() -> None:
    assert startable([wish("hopeless", dirty=10**12)], [], FAST) == ["hopeless"]


def test_whoever_names_a_number_gets_it_and_is_not_joined_by_more() -> None:
    three = [wish(str(number), dirty=90_000_000, parallel=3) for number in range(5)]

    assert startable(three, [], FAST) == ["0", "1", "2"]
    assert startable([wish("b")], [wish("a", parallel=1)], FAST) == []
    assert startable([wish("b", parallel=1)], [wish("a")], FAST) == []


def test_other_lines_are_free() -> None:
    moving = [wish("a", parallel=1)]
    elsewhere = Wish("b", source="host-c", destination="host-d", size_bytes=1)
    back = Wish("c", source="host-b", destination="host-a", size_bytes=1)

    assert startable([elsewhere, back], moving, {}) == ["b", "c"]


def test_one_that_many_overtook_is_next_and_its_lines_are_kept_for_it() -> None:
    large = aged(wish("large", 9, dirty=90_000_000))
    elsewhere = Wish("elsewhere", source="host-c", destination="host-d", size_bytes=1)

    assert startable([wish("small"), large], [], FAST) == ["large"]
    assert startable([wish("small"), large, elsewhere], [wish("a")], FAST) == ["elsewhere"]


def test_a_large_one_comes_to_its_turn_however_many_small_ones_ask_after_it() -> None:
    large, moving = wish("large", 9, dirty=90_000_000), [wish("first")]
    for number in range(2 * MOST_OVERTAKEN):
        waiting = [large, wish(f"small-{number}")]
        started = startable(waiting, moving, FAST)
        if "large" in started:
            break
        overtaken = passed_by(waiting, started).count("large")
        large = large._replace(overtaken=large.overtaken + overtaken)
        moving = [each for each in waiting if each.id in started]

    assert started == ["large"]
    assert large.overtaken == MOST_OVERTAKEN


def test_it_is_passed_by_those_only_that_asked_later_and_use_its_lines() -> None:
    waiting = [
        wish("before"),
        wish("large", 9),
        Wish("elsewhere", source="host-c", destination="host-d", size_bytes=1),
        wish("after"),
        wish("last"),
    ]

    assert passed_by(waiting, ["before", "elsewhere", "after"]) == ["large"]
    assert passed_by(waiting, ["before", "after", "last"]) == ["large", "large"]
    assert passed_by(waiting, []) == []


@given(
    waiting=st.lists(
        st.builds(
            Wish,
            st.uuids().map(str),
            source=st.sampled_from(["host-a", "host-b"]),
            destination=st.sampled_from(["host-c", "host-d"]),
            size_bytes=st.integers(1, 100),
            dirty_bytes_per_s=st.integers(0, 10**9),
            parallel=st.none() | st.integers(1, 3),
            overtaken=st.integers(0, MOST_OVERTAKEN),
        ),
        min_size=1,
    )
)
def test_it_never_stands_still_and_comes_to_an_end(waiting: list[Wish]) -> None:
    left = {each.id: each for each in waiting}
    while left:
        started = startable(left.values(), [], FAST)
        assert started
        for id in started:
            del left[id]


def test_rates_are_learned_from_passes() -> None:
    passes = [
        PassReport(number=number, remaining_bytes=0, dirty_rate=dirty, bandwidth=rate)
        for number, (dirty, rate) in enumerate([(0, 0), (5, 100), (9, 120), (7, 900)])
    ]

    assert rate_of(passes) == 120
    assert rate_of(passes[:1]) is None
    assert dirty_rate_of(passes) == 9
    assert dirty_rate_of([]) == 0

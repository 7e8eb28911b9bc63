"""Silence is attributed to the right window, and never cut short."""

from __future__ import annotations

from godwit.lab.traffic_result import TcpCounters
from godwit.lab.traffic_tally import Tally

NONE = TcpCounters()


def progressed(tally: Tally, at_ms: float, *, latency_ms: float = 1.0) -> None:
    tally.progressed(at_ms, latency_ms=latency_ms, operations=1, size_bytes=10)


def test_the_longest_silence_of_each_window() -> None:
    tally = Tally(1000)
    for at_ms in (1001, 1005, 1006):
        progressed(tally, at_ms)
    tally.mark("there", 1010, NONE)
    for at_ms in (1011, 1061, 1062):
        progressed(tally, at_ms)
    tally.close(1063, NONE)
    assert [(each.name, each.stall_ms, each.stall_at_ms) for each in tally.windows] == [
        ("baseline", 4, 1001),
        ("there", 50, 1011),
    ]
    assert [(each.operations, each.bytes) for each in tally.windows] == [(3, 30), (3, 30)]


def test_a_silence_across_a_mark_counts_whole_where_it_ends() -> None:
    tally = Tally(0)
    progressed(tally, 10)
    tally.mark("there", 50, NONE)
    progressed(tally, 100)
    tally.close(101, NONE)
    assert [each.stall_ms for each in tally.windows] == [40, 90]


def test_a_silence_that_never_ends_counts_up_to_the_end() -> None:
    tally = Tally(0)
    progressed(tally, 10)
    tally.close(5000, NONE)
    assert tally.windows[0].stall_ms == 4990


def test_counters_are_those_of_the_window() -> None:
    tally = Tally(0)
    tally.restart(1, TcpCounters(retransmissions=2))
    tally.mark("there", 2, TcpCounters(retransmissions=2))
    tally.close(3, TcpCounters(retransmissions=5, spurious_retransmissions=1))
    assert [each.retransmissions for each in tally.windows] == [0, 3]
    assert [each.spurious_retransmissions for each in tally.windows] == [0, 1]


def test_of_each_ten_milliseconds_the_slowest_answer_is_kept() -> None:
    tally = Tally(0)
    for at_ms, latency_ms in ((1, 1.0), (5, 7.0), (9, 2.0), (10, 3.0)):
        progressed(tally, at_ms, latency_ms=latency_ms)
    assert tally.points == [(5, 7.0), (10, 3.0)]


def test_part_of_an_answer_is_progress_but_no_sample() -> None:
    tally = Tally(0)
    tally.progressed(30, latency_ms=0.0, operations=0, size_bytes=10)
    tally.close(31, NONE)
    assert tally.points == []
    assert (tally.windows[0].stall_ms, tally.windows[0].bytes) == (30, 10)


def test_what_was_before_the_restart_is_forgotten() -> None:
    tally = Tally(0)
    progressed(tally, 500)
    tally.restart(501, NONE)
    tally.close(502, NONE)
    assert (tally.windows[0].stall_ms, tally.windows[0].operations, tally.points) == (1, 0, [])


def test_the_first_answer_after_a_restart_is_a_sample() -> None:
    tally = Tally(0)
    progressed(tally, 500)
    tally.restart(501, NONE)
    progressed(tally, 502)
    assert tally.points == [(502, 1.0)]

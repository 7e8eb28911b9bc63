"""Where a blackout went."""

from __future__ import annotations

from godwit.core.milestones import Milestone, parts
from godwit.core.report import BlackoutParts, TimelineEntry

AT_MS = {
    Milestone.stopped: 0.0,
    Milestone.sent: 3.0,
    Milestone.told: 5.5,
    Milestone.loaded: 5.0,
    Milestone.started: 6.25,
}
AT_MS |= {Milestone.resumed: 6.5}


def timeline(at_ms: dict[Milestone, float]) -> list[TimelineEntry]:
    entries = [TimelineEntry(at_ms=-900.0, event="copying")]
    return entries + [TimelineEntry(at_ms=when, event=moment) for moment, when in at_ms.items()]


def test_its_parts_follow_each_other_and_are_all_of_it() -> None:
    found = parts(timeline(AT_MS))

    assert found == BlackoutParts(send_ms=3.0, load_ms=2.0, agree_ms=1.25, start_ms=0.25)
    assert sum(found.model_dump().values()) == AT_MS[Milestone.resumed]


def test_no_part_is_less_than_nothing_though_the_hosts_clocks_differ() -> None:
    found = parts(timeline(AT_MS | {Milestone.loaded: 2.2}))
    assert found == BlackoutParts(send_ms=3.0, load_ms=0.0, agree_ms=3.25, start_ms=0.25)

    found = parts(timeline(AT_MS | {Milestone.sent: 7.0}))
    assert found == BlackoutParts(send_ms=6.5, load_ms=0.0, agree_ms=0.0, start_ms=0.0)


def test_what_is_told_twice_counts_once() -> None:
    again = TimelineEntry(at_ms=50.0, event=Milestone.started)

    assert parts([*timeline(AT_MS), again]) == parts(timeline(AT_MS))


def test_one_that_nobody_noted_leaves_them_unknown() -> None:
    for milestone in AT_MS.keys() - {Milestone.told}:
        assert parts(timeline({each: when for each, when in AT_MS.items() if each != milestone})) is None

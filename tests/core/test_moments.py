"""Where a blackout went."""

from __future__ import annotations

from godwit.core.moments import Moment, parts
from godwit.core.report import BlackoutParts, TimelineEntry

AT_MS = {Moment.stopped: 0.0, Moment.sent: 3.0, Moment.told: 5.5, Moment.loaded: 5.0, Moment.started: 6.25}
AT_MS |= {Moment.resumed: 6.5}


def timeline(at_ms: dict[Moment, float]) -> list[TimelineEntry]:
    entries = [TimelineEntry(at_ms=-900.0, event="copying")]
    return entries + [TimelineEntry(at_ms=when, event=moment) for moment, when in at_ms.items()]


def test_its_parts_follow_each_other_and_are_all_of_it() -> None:
    found = parts(timeline(AT_MS))

    assert found == BlackoutParts(send_ms=3.0, load_ms=2.0, agree_ms=1.25, start_ms=0.25)
    assert sum(found.model_dump().values()) == AT_MS[Moment.resumed]


def test_what_is_told_twice_counts_once() -> None:
    again = TimelineEntry(at_ms=50.0, event=Moment.started)

    assert parts([*timeline(AT_MS), again]) == parts(timeline(AT_MS))


def test_a_moment_that_nobody_noted_leaves_them_unknown() -> None:
    for moment in AT_MS.keys() - {Moment.told}:
        assert parts(timeline({each: when for each, when in AT_MS.items() if each != moment})) is None

"""What a report says of the guest, where anything was done for it."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from godwit.cli.report import print_report
from godwit.core.guest import GuestClock, Heed, Moment, Notice
from godwit.core.report import Report


def lines(capsys: pytest.CaptureFixture[str], clock: GuestClock | None, *notices: Notice) -> list[str]:
    sides = {"source": "host-a", "destination": "host-b"}
    started = datetime(2026, 11, 28, tzinfo=UTC)
    report = Report(id="m1", vm="web", outcome="done", started_at=started, total_ms=1.0, **sides)
    print_report(report.model_copy(update={"guest_clock": clock, "notices": notices}))
    return [line for line in capsys.readouterr().out.splitlines() if line.startswith("guest")]


@pytest.mark.parametrize(
    ("clock", "text"),
    [
        (GuestClock(skew_ms=-40.0, left_ms=0.1), "40 ms behind, set"),
        (GuestClock(skew_ms=3.0), "3 ms ahead"),
        (GuestClock(skew_ms=60.0, why="it is ahead"), "60 ms ahead, not set: it is ahead"),
    ],
)
def test_its_clock(capsys: pytest.CaptureFixture[str], clock: GuestClock, text: str) -> None:
    (line,) = lines(capsys, clock)
    assert line.split(": ", 1)[1].strip() == text


def test_what_it_was_told(capsys: pytest.CaptureFixture[str]) -> None:
    heeded = Notice(moment=Moment.before, heed=Heed.heeded, ms=12.0)
    slow = Notice(moment=Moment.after, heed=Heed.still_busy, why="the hook had not ended", ms=5000.0)
    (line,) = lines(capsys, None, heeded, slow)
    assert line.split(": ", 1)[1].strip() == "before: heeded (12 ms), after: the hook had not ended (5.0 s)"


def test_nothing_where_nothing_was_done(capsys: pytest.CaptureFixture[str]) -> None:
    assert lines(capsys, None) == []
    assert lines(capsys, GuestClock(why="no guest agent listens inside")) == []

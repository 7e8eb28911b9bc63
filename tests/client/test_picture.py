"""Pictures are well formed, mark what happened where it happened, and do not fall over nothing."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from html.parser import HTMLParser
from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st

from godwit.client.picture import report_html
from godwit.client.picture_svg import LEFT, RIGHT, blackout_svg, latency_svg
from godwit.client.picture_terminal import terminal_plot
from godwit.client.picture_values import ClientRow, Mark, Series, blackouts
from godwit.core.report import Announcement, Forecast, NetworkReport, PassReport, Report, TimelineEntry

START_MS = 1_790_000_000_000.0
SVG = "{http://www.w3.org/2000/svg}"


def series(name: str = "echo", seconds: int = 10) -> Series:
    """An answer every ten milliseconds, but none while the VM stands still."""
    quick = [(START_MS + at_ms, 1.0 + at_ms % 7) for at_ms in range(0, seconds * 1000, 10) if not 4960 <= at_ms <= 5000]
    return Series(name=name, points=tuple(sorted([*quick, (START_MS + 5000, 42.0)])))


def mark(start_ms: float = 4960, end_ms: float = 5000) -> Mark:
    return Mark(label="host-a → host-b: 40 ms", start_ms=START_MS + start_ms, end_ms=START_MS + end_ms)


def report(**changes: object) -> Report:
    known = Report(
        id="m-1",
        vm="demo",
        source="host-a",
        destination="host-b",
        outcome="done",
        started_at=datetime.fromtimestamp(START_MS / 1000, UTC),
        total_ms=3200.0,
        blackout_ms=40.0,
        clock_error_ms=0.1,
        forecast=Forecast(total_ms=3000.0, blackout_ms=38.0),
        passes=(PassReport(number=1, remaining_bytes=1 << 20, dirty_rate=1 << 21, bandwidth=1 << 27),),
        network=NetworkReport(announcements=(Announcement(kind="rarp", at_ms=41.0, witnessed_by=("host-a",)),)),
        timeline=(TimelineEntry(at_ms=0.0, event="source <stopped> & quiet"),),
        stopped_at_ms=START_MS + 4960,
    )
    return known.model_copy(update=changes)


class Balance(HTMLParser):
    """Every tag that opens closes, in order."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.texts: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.texts.append(data)


def texts(page: str) -> str:
    parser = Balance()
    parser.feed(page.removeprefix("<!doctype html>"))
    parser.close()
    assert parser.open == []
    return "\n".join(parser.texts)


@pytest.mark.parametrize("marks", [[], [mark()], [mark(0, 0), mark(9000, 20000)]])
def test_bands_lie_inside_the_axes(marks: list[Mark]) -> None:
    root = ElementTree.fromstring(latency_svg([series(), series("redis")], marks, width=960, height=300))
    bands = root.findall(f".//{SVG}rect[@class='band']")
    assert len(bands) == len(marks)
    for band in bands:
        left, width = float(band.attrib["x"]), float(band.attrib["width"])
        assert left >= LEFT
        assert left + width <= 960 - RIGHT + 2


def test_a_band_is_where_the_slow_answer_is() -> None:
    root = ElementTree.fromstring(latency_svg([series()], [mark()], width=960, height=300))
    band = root.find(f".//{SVG}rect[@class='band']")
    line = root.find(f".//{SVG}path")
    assert band is not None
    assert line is not None
    points = [tuple(map(float, each)) for each in re.findall(r"([\d.]+),([\d.]+)", line.attrib["d"])]
    top = min(y for _, y in points)
    asked, answered = [x for x, y in points if y == top]
    left, right = float(band.attrib["x"]), float(band.attrib["x"]) + float(band.attrib["width"])
    assert left - 2 <= asked < answered <= right + 2


def test_the_close_look_shows_only_what_is_near() -> None:
    root = ElementTree.fromstring(blackout_svg([series()], mark(), width=960, height=260))
    assert 10 < len(root.findall(f".//{SVG}circle")) < 40


@pytest.mark.parametrize(("answered_ms", "dots"), [(5900, 1), (60_000, 0)])
def test_the_close_look_never_hides_a_request_that_met_the_blackout(answered_ms: float, dots: int) -> None:
    late = Series(name="redis", points=((START_MS + answered_ms, answered_ms - 4970),))
    root = ElementTree.fromstring(blackout_svg([late], mark(), width=960, height=260))
    assert len(root.findall(f".//{SVG}path")) == 1
    assert len(root.findall(f".//{SVG}circle[@r='1.8']")) == dots


def test_nothing_to_show_is_said() -> None:
    for svg in (
        latency_svg([], [], width=960, height=300),
        latency_svg([Series(name="echo")], [mark()], width=960, height=300),
        blackout_svg([Series(name="echo")], mark(), width=960, height=260),
    ):
        assert "no samples" in "".join(ElementTree.fromstring(svg).itertext())
    assert terminal_plot([], [mark()], width=80, height=8) == "no samples"


@given(st.lists(st.tuples(st.floats(0, 1e5), st.floats(0, 1e5))), st.integers(30, 200), st.integers(1, 30))
def test_any_samples_make_a_plot_of_the_size_asked_for(
    points: list[tuple[float, float]], width: int, height: int
) -> None:
    some = Series(name="echo", points=tuple(sorted((START_MS + at, latency) for at, latency in points)))
    ElementTree.fromstring(latency_svg([some], [mark()], width=960, height=300))
    lines = terminal_plot([some], [mark()], width=width, height=height).splitlines()
    assert all(len(line) <= width for line in lines)
    assert len(lines) == (height + 3 if points else 1)


def test_the_terminal_plot_marks_the_blackout_under_its_column() -> None:
    lines = terminal_plot([series()], [mark(2000, 2040), mark()], width=100, height=8).splitlines()
    slow = next(column for line in lines for column, cell in enumerate(line) if "⠁" <= cell <= "⣿")
    assert any(abs(line.find("▲", slow - 1) - slow) <= 1 for line in lines[-2:])
    assert sum(line.count("▲") for line in lines) == 2


def test_the_page_is_whole_and_needs_nothing_else() -> None:
    rows = [
        ClientRow(name="redis", survived=True, verified=True, stalls_ms=(("host-b", 41.0),)),
        ClientRow(name="ssh", survived=False, verified=True, error="reset <by> peer", stalls_ms=(("host-b", 9000.0),)),
    ]
    page = report_html([report(), report(id="m-2", source="host-b", destination="host-a")], rows, [series()])
    words = texts(page)
    assert "1 of 2 connections survived" in words
    assert "broke: reset <by> peer" in words
    assert "source <stopped> & quiet" in words
    assert "host-a → host-b → host-a" in words
    assert page.count('<rect class="band"') == 4
    assert not re.search(r"""(src|href)=|url\(|@import""", page)


def test_wrong_data_is_not_called_survival() -> None:
    row = ClientRow(name="redis", survived=True, verified=False, error="key 7")
    words = texts(report_html([report()], [row], []))
    assert "0 of 1 connections survived" in words
    assert "wrong data: key 7" in words


@pytest.mark.parametrize(
    "failed", [report(), report(outcome="failed", blackout_ms=None, stopped_at_ms=None, error="the link is down")]
)
def test_a_report_alone_is_enough(failed: Report) -> None:
    words = texts(report_html([failed], [], []))
    assert "migration m-1 of demo" in words
    assert "Connections" not in words
    assert (failed.error or "") in words


def test_only_what_stood_still_has_a_blackout() -> None:
    assert [each.end_ms - each.start_ms for each in blackouts([report(), report(blackout_ms=None)])] == [40.0]

"""Latency over time as SVG: an overview, and a close look at one blackout."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

from godwit.client.picture_scale import Axes, axes, envelope
from godwit.client.picture_values import Mark, Series

LEFT, RIGHT, TOP, BOTTOM = 56.0, 12.0, 30.0, 26.0

STYLE = """
.gw{--ink:#1c2530;--soft:#6b7785;--line:#e3e8ee;--band:#d9480f;
--s0:#1f6feb;--s1:#0f8a6c;--s2:#b7791f;--s3:#8a3ffc;--s4:#c2255c;
font:11px system-ui,sans-serif}
@media screen and (prefers-color-scheme:dark){.gw{--ink:#e6ebf1;--soft:#94a1b0;--line:#2b343f;--band:#ff922b;
--s0:#6ea8fe;--s1:#3ec9a0;--s2:#e5b454;--s3:#b794f6;--s4:#f783ac}}
.gw text{fill:var(--soft)}
.gw .label{fill:var(--ink);font-weight:600}
.gw .grid{stroke:var(--line)}
.gw .band{fill:var(--band);fill-opacity:.2}
.gw .edge{stroke:var(--band);stroke-width:1.2}
.gw .mark{fill:var(--band);font-weight:600}
.gw path{fill:none;stroke-width:1.3;stroke-linejoin:round}
.gw .s0{stroke:var(--s0)}.gw .s1{stroke:var(--s1)}.gw .s2{stroke:var(--s2)}
.gw .s3{stroke:var(--s3)}.gw .s4{stroke:var(--s4)}
.gw .d0{fill:var(--s0)}.gw .d1{fill:var(--s1)}.gw .d2{fill:var(--s2)}.gw .d3{fill:var(--s3)}.gw .d4{fill:var(--s4)}
"""
COLOURS = 5
LONGEST_LOOK_MS = 3000.0
LINE_APART = 2.5
"""Pixels between the lines of two clients whose requests took equally long, so that none hides another."""


@dataclass(frozen=True)
class Canvas:
    """Axes on a sheet of that size, in pixels."""

    frame: Axes
    width: float
    height: float

    def x(self, at_ms: float) -> float:
        """From the left."""
        return LEFT + self.frame.across(at_ms) * (self.width - LEFT - RIGHT)

    def y(self, latency_ms: float) -> float:
        """From the top."""
        return TOP + (1.0 - self.frame.up(latency_ms)) * (self.height - TOP - BOTTOM)


def latency_svg(series: Sequence[Series], marks: Sequence[Mark], *, width: float, height: float) -> str:
    """The slowest answers of each client over the whole time, in seconds from the first; blackouts are bands.

    An answer that took longer than two pixels is drawn from its request on, not as a peak.
    """
    frame = axes(series, marks)
    if frame is None:
        return _svg('<text x="12" y="24">no samples</text>', width=width, height=48.0)
    canvas = Canvas(frame, width, height)
    body = [_grid(canvas), _time(canvas, frame.start_ms, unit_ms=1000.0, unit="s"), _bands(canvas, marks)]
    body += [_line(canvas, each, number) for number, each in enumerate(series)]
    return _svg("".join([*body, _legend(canvas, series)]), width=width, height=height)


def blackout_svg(series: Sequence[Series], mark: Mark, *, width: float, height: float) -> str:
    """Every kept answer around one blackout, in milliseconds from STOP.

    Each is a line from its request to its answer, as high as it was long, with a dot at the answer: the request
    that met the blackout is the line that spans it. One that was not answered soon leaves the picture on the right.
    """
    margin_ms = max(mark.end_ms - mark.start_ms, 60.0)
    met = [at for each in series for at, _ in each.during(mark.start_ms, mark.end_ms).points]
    latest_ms = min(max([mark.end_ms, *met]), mark.end_ms + LONGEST_LOOK_MS)
    start_ms, end_ms = mark.start_ms - margin_ms, latest_ms + 1.5 * margin_ms
    near = [each.during(start_ms, end_ms) for each in series]
    found = axes(near, [mark])
    if found is None:
        return _svg('<text x="12" y="24">no samples around this blackout</text>', width=width, height=48.0)
    canvas = Canvas(Axes(start_ms, end_ms, found.low, found.high), width, height)
    body = [_grid(canvas), _time(canvas, mark.start_ms, unit_ms=1.0, unit="ms"), _bands(canvas, [mark])]
    body += [_spans(canvas, each, number) for number, each in enumerate(near)]
    return _svg("".join([*body, _legend(canvas, series)]), width=width, height=height)


def _svg(body: str, *, width: float, height: float) -> str:
    return (
        f'<svg class="gw" xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:g} {height:g}" width="{width:g}" '
        f'height="{height:g}" role="img"><style>{STYLE}</style>{body}</svg>'
    )


def _grid(canvas: Canvas) -> str:
    lines = []
    for value, name in canvas.frame.decades():
        y = canvas.y(value)
        lines.append(f'<line class="grid" x1="{LEFT}" x2="{canvas.width - RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>')
        lines.append(f'<text x="{LEFT - 6}" y="{y + 4:.1f}" text-anchor="end">{name}</text>')
    return "".join(lines)


def _time(canvas: Canvas, zero_ms: float, *, unit_ms: float, unit: str) -> str:
    step_ms = canvas.frame.step_ms(12)
    first = -int((zero_ms - canvas.frame.start_ms) / step_ms)
    last = int((canvas.frame.end_ms - zero_ms) / step_ms)
    y = canvas.height - BOTTOM + 16
    return "".join(
        f'<text x="{canvas.x(zero_ms + number * step_ms):.1f}" y="{y:.1f}" text-anchor="middle">'
        f"{number * step_ms / unit_ms:g} {unit}</text>"
        for number in range(first, last + 1)
    )


def _bands(canvas: Canvas, marks: Sequence[Mark]) -> str:
    parts = []
    top, bottom = TOP, canvas.height - BOTTOM
    for mark in marks:
        left, right = canvas.x(mark.start_ms), canvas.x(mark.end_ms)
        anchor = "start" if left < canvas.width * 0.7 else "end"
        parts.append(
            f'<g><title>blackout {escape(mark.label)}</title><rect class="band" x="{left:.1f}" y="{top}" '
            f'width="{max(right - left, 2.0):.1f}" height="{bottom - top:.1f}"/>'
            f'<line class="edge" x1="{left:.1f}" x2="{left:.1f}" y1="{top - 6}" y2="{bottom:.1f}"/>'
            f'<text class="mark" x="{left + (4 if anchor == "start" else -4):.1f}" y="{top + 8}" '
            f'text-anchor="{anchor}">{escape(mark.label)}</text></g>'
        )
    return "".join(parts)


def _line(canvas: Canvas, series: Series, number: int) -> str:
    columns = int(canvas.width - LEFT - RIGHT)
    ms_per_column = (canvas.frame.end_ms - canvas.frame.start_ms) / columns
    points: list[str] = []
    before = 0.0
    for column, (_, high) in sorted(envelope(series, canvas.frame, columns).items()):
        asked = max(column - high / ms_per_column, before)
        before = column
        edges = [asked, column] if column - asked > 2 else [column]
        points += [f"{LEFT + edge + 0.5:.1f},{canvas.y(high):.1f}" for edge in edges]
    return f'<path class="s{number % COLOURS}" d="M{" L".join(points)}"/>' if points else ""


def _spans(canvas: Canvas, series: Series, number: int) -> str:
    colour = number % COLOURS
    aside = (number - 1.5) * LINE_APART
    lines, dots = [], []
    for at_ms, latency_ms in series.points:
        left, right, y = canvas.x(at_ms - latency_ms), canvas.x(at_ms), canvas.y(latency_ms) + aside
        lines.append(f"M{left:.1f},{y:.1f} H{right:.1f}")
        if at_ms <= canvas.frame.end_ms:
            dots.append(f'<circle class="d{colour}" cx="{right:.1f}" cy="{y:.1f}" r="1.8"/>')
    return f'<path class="s{colour}" d="{" ".join(lines)}"/>{"".join(dots)}' if lines else ""


def _legend(canvas: Canvas, series: Sequence[Series]) -> str:
    parts, x = [], LEFT
    for number, each in enumerate(series):
        parts.append(f'<circle class="d{number % COLOURS}" cx="{x + 4:.1f}" cy="10" r="4"/>')
        parts.append(f'<text class="label" x="{x + 12:.1f}" y="14">{escape(each.name)}</text>')
        x += 30 + 7 * len(each.name)
    return "".join(parts)

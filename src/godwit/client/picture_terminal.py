"""Latency over time in characters: braille dots, a logarithmic scale, blackouts marked under the axis."""

from __future__ import annotations

import math
from collections.abc import Sequence

from godwit.client.picture_scale import Axes, axes, envelope
from godwit.client.picture_values import Mark, Series

GUTTER = 8
BLANK = 0x2800
DOTS = ((0x40, 0x80), (0x04, 0x20), (0x02, 0x10), (0x01, 0x08))
"""Braille dots of a cell, from its bottom row to its top row, left and right."""


def terminal_plot(series: Sequence[Series], marks: Sequence[Mark], *, width: int, height: int) -> str:
    """A plot of `height` rows and some lines of axis, none longer than `width`; `no samples` when there are none."""
    frame = axes(series, marks)
    if frame is None:
        return "no samples"
    columns = max(width - GUTTER - 1, 10)
    cells = _cells(series, frame, columns, height)
    names = {round((height - 1) * (1 - frame.up(value))): name for value, name in frame.decades()}
    lines = [f"{names.get(row, ''):>{GUTTER - 1}} {'┤' if row in names else '│'}{cells[row]}" for row in range(height)]
    lines += [" " * GUTTER + "└" + "─" * columns, _ticks(frame, columns), *_marks(marks, frame, columns)]
    return "\n".join(line.rstrip() for line in lines)


def _cells(series: Sequence[Series], frame: Axes, columns: int, height: int) -> list[str]:
    """Rows of characters; a slow answer stands on a line, down to what was before it, so that nobody overlooks it."""
    grid = [[BLANK] * columns for _ in range(height)]
    dots_up = height * 4 - 1
    for each in series:
        before = math.inf
        for column, (low, high) in envelope(each, frame, columns * 2).items():
            for dot in range(round(frame.up(min(low, before)) * dots_up), round(frame.up(high) * dots_up) + 1):
                grid[height - 1 - dot // 4][column // 2] |= DOTS[dot % 4][column % 2]
            before = high
    return ["".join(map(chr, row)) for row in grid]


def _ticks(frame: Axes, columns: int) -> str:
    line = [" "] * (columns + GUTTER + 1)
    step_ms = frame.step_ms(columns // 10)
    for number in range(int((frame.end_ms - frame.start_ms) / step_ms) + 1):
        at_ms = frame.start_ms + number * step_ms
        _put(line, f"{number * step_ms / 1000:g} s", GUTTER + 1 + round(frame.across(at_ms) * (columns - 1)))
    return "".join(line)


def _marks(marks: Sequence[Mark], frame: Axes, columns: int) -> list[str]:
    """One line; those marks whose names do not fit beside the others get lines of their own."""
    lines: list[list[str]] = []
    for mark in marks:
        at = GUTTER + 1 + min(int(frame.across(mark.start_ms) * columns), columns - 1)
        text = f"▲ {mark.label}"
        start = at
        if at + len(text) > columns + GUTTER + 1:
            text, start = f"{mark.label} ▲", max(at - len(mark.label) - 1, 0)
        if not any(_put(line, text, start) for line in lines):
            lines.append([" "] * (columns + GUTTER + 1))
            _put(lines[-1], text, start)
    return ["".join(line) for line in lines]


def _put(line: list[str], text: str, start: int) -> bool:
    """The text stands there, if there is room for it and a space before it."""
    if start + len(text) > len(line) or any(each != " " for each in line[max(start - 1, 0) : start + len(text) + 1]):
        return False
    line[start : start + len(text)] = text
    return True

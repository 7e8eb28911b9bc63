"""Tables: whole for programs, as wide as the terminal for people."""

from __future__ import annotations

import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from godwit.cli.show import GAP, LEAST, fitting, print_table

ROWS = [("web-1", "a very long reason that goes on and on"), ("web-2", None)]


def test_off_a_terminal_nothing_is_cut(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "20")
    print_table(("NAME", "REASON"), ROWS)
    assert "goes on and on" in capsys.readouterr().out


def test_on_a_terminal_the_widest_is_cut(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "24")
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    print_table(("NAME", "REASON"), ROWS)
    assert capsys.readouterr().out == "NAME   REASON\nweb-1  a very long reas…\nweb-2  -\n"


@given(st.lists(st.integers(1, 200), min_size=1, max_size=8), st.integers(10, 300))
def test_widths_fit_or_are_as_narrow_as_they_may_be(widths: list[int], columns: int) -> None:
    fitted = fitting(widths, columns)
    assert all(now <= before for now, before in zip(fitted, widths, strict=True))
    assert all(now >= min(before, LEAST) for now, before in zip(fitted, widths, strict=True))
    assert sum(fitted) + len(GAP) * (len(fitted) - 1) <= columns or max(fitted) <= LEAST

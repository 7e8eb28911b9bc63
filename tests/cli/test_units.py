"""Numbers with units."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from godwit.cli.units import format_ms, parse_bytes_per_s, parse_mib, parse_ms, parse_s, parse_size_bytes
from godwit.core.errors import Invalid

PARSERS: list[Callable[[str], float]] = [parse_ms, parse_s, parse_mib, parse_bytes_per_s]


@pytest.mark.parametrize(
    ("parse", "text", "value"),
    [
        (parse_ms, "300ms", 300),
        (parse_ms, "0.5s", 500),
        (parse_ms, " 2 min ", 120_000),
        (parse_s, "5min", 300.0),
        (parse_s, "1.5h", 5400.0),
        (parse_s, "250ms", 0.25),
        (parse_mib, "512MiB", 512),
        (parse_mib, "2GiB", 2048),
        (parse_mib, "0.5GiB", 512),
        (parse_bytes_per_s, "1gbit", 125_000_000),
        (parse_bytes_per_s, "100mbit", 12_500_000),
        (parse_bytes_per_s, "100MiB/s", 104_857_600),
        (parse_bytes_per_s, "125kB/s", 125_000),
    ],
)
def test_what_people_write(parse: Callable[[str], float], text: str, value: float) -> None:
    assert parse(text) == value


@pytest.mark.parametrize(
    ("parse", "text", "sentence"),
    [
        (parse_ms, "300", "'300' has no unit: write a time like 300ms, with one of ms, s, min, h"),
        (parse_ms, "300 msec", "'300 msec' has unknown unit 'msec'"),
        (parse_ms, "soon", "'soon' is not a time: write it like 300ms"),
        (parse_ms, "-3ms", "'-3ms' is not a time"),
        (parse_ms, "0ms", "'0ms' is too little: write at least 1ms"),
        (parse_s, "0s", "'0s' is no time at all"),
        (parse_mib, "512", "'512' has no unit"),
        (parse_mib, "512MB", "'512MB' is not a whole number of MiB: write 488MiB, or an amount of memory like 512MiB"),
        (parse_mib, "1024", "'1024' has no unit: write an amount of memory like 512MiB, with one of MiB, GiB, TiB"),
        (parse_size_bytes, "10GB", "'10GB' is not a whole number of MiB: write 9537MiB, or a size like 10GiB"),
        (parse_mib, "0MiB", "'0MiB' is not a whole number of MiB"),
        (parse_mib, "1gbit", "'1gbit' has unknown unit 'gbit'"),
        (parse_bytes_per_s, "1GiB", "'1GiB' has unknown unit 'GiB'"),
        (parse_bytes_per_s, "0gbit", "'0gbit' is too little"),
        (parse_bytes_per_s, "999kbit", "'999kbit' is too little: write at least 1mbit"),
    ],
)
def test_wrong_words_are_told_with_right_ones(parse: Callable[[str], float], text: str, sentence: str) -> None:
    with pytest.raises(Invalid) as caught:
        parse(text)
    assert sentence in caught.value.message


@given(st.text())
def test_any_text_is_a_number_or_invalid(text: str) -> None:
    for parse in PARSERS:
        try:
            assert parse(text) > 0
        except Invalid:
            continue


@given(st.integers(1, 10**9))
def test_whole_numbers_come_back(number: int) -> None:
    assert parse_ms(f"{number}ms") == number
    assert parse_mib(f"{number}MiB") == number
    assert parse_bytes_per_s(f"{number}MB/s") == number * 1_000_000


def test_what_people_read() -> None:
    assert [format_ms(each) for each in (None, 34.2, 2100, 150_000)] == ["-", "34 ms", "2.1 s", "2.5 min"]

"""Numbers with units as people write and read them."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping

from godwit.core.errors import Invalid
from godwit.core.value import MIB

_SECONDS = {"ms": 0.001, "s": 1.0, "min": 60.0, "h": 3600.0}
_BYTES = {
    "B": 1,
    **{f"{letter}iB": 1024**power for power, letter in enumerate("KMGT", 1)},
    **{f"{letter}B": 1000**power for power, letter in enumerate("kMGT", 1)},
}
_BYTES_PER_S = {
    **{f"{letter}bit": 1000**power / 8 for power, letter in enumerate("kmgt", 1)},
    **{f"{unit}/s": float(bytes_) for unit, bytes_ in _BYTES.items()},
}

LEAST_BYTES_PER_S = 125_000
"""With less nothing that runs would ever be moved."""

_NUMBER = re.compile(r"(?P<number>[0-9]+(\.[0-9]+)?) ?(?P<unit>[A-Za-z/]+)?", re.ASCII)


def parse_ms(text: str) -> int:
    """`300ms` or `0.5s` as whole milliseconds, at least 1."""
    return _whole(_parse(text, _SECONDS, "a time", "300ms") * 1000, text, "1ms")


def parse_s(text: str) -> float:
    """`5min` as seconds, more than none."""
    seconds = _parse(text, _SECONDS, "a time", "5min")
    if seconds <= 0:
        raise Invalid(f"{text!r} is no time at all: write more, such as 5min")
    return seconds


def parse_mib(text: str) -> int:
    """`512MiB` or `2GiB` as MiB; only whole ones."""
    return _whole_mib(text, "an amount of memory", "512MiB")


def parse_size_bytes(text: str) -> int:
    """`10GiB` as bytes; only whole MiB, as disks are made."""
    return _whole_mib(text, "a size", "10GiB") * MIB


def _whole_mib(text: str, what: str, example: str) -> int:
    amount = _parse(text, _BYTES, what, example, offered=("MiB", "GiB", "TiB"))
    if amount % MIB or not amount:
        nearest = max(1, round(amount / MIB))
        raise Invalid(f"{text!r} is not a whole number of MiB: write {nearest}MiB, or {what} like {example}")
    return int(amount) // MIB


def parse_bytes_per_s(text: str) -> int:
    """`1gbit` (per second, decimal, as networks count) or `100MiB/s` as bytes per second, at least 1mbit."""
    return _whole(_parse(text, _BYTES_PER_S, "a rate", "1gbit"), text, "1mbit", of=LEAST_BYTES_PER_S)


def format_ms(time_ms: float | None) -> str:
    """In the unit that suits it."""
    if time_ms is None:
        return "-"
    if time_ms < 1000:
        return f"{time_ms:.0f} ms"
    if time_ms < 120_000:
        return f"{time_ms / 1000:.1f} s"
    return f"{time_ms / 60_000:.1f} min"


def _parse(
    text: str, units: Mapping[str, float], what: str, example: str, *, offered: Collection[str] | None = None
) -> float:
    match = _NUMBER.fullmatch(text.strip())
    if match is None:
        raise Invalid(f"{text!r} is not {what}: write it like {example}")
    if match["unit"] not in units:
        why = f"unknown unit {match['unit']!r}" if match["unit"] else "no unit"
        raise Invalid(f"{text!r} has {why}: write {what} like {example}, with one of {', '.join(offered or units)}")
    return float(match["number"]) * units[match["unit"]]


def _whole(number: float, text: str, least: str, *, of: int = 1) -> int:
    if round(number) < of:
        raise Invalid(f"{text!r} is too little: write at least {least}")
    return round(number)

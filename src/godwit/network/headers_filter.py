"""The kernel's filter for headers: classic BPF (linux/filter.h) that returns how much of a frame is headers."""

from __future__ import annotations

from typing import NamedTuple

_LOAD_HALF, _LOAD_BYTE, _LOAD_BYTE_BEYOND_X, _LENGTH_TO_X = 0x28, 0x30, 0x50, 0xB1
_EQUALS, _ANY_BIT = 0x15, 0x45
_AND, _SHIFT_RIGHT, _ADD, _ADD_X, _X_TO_A = 0x54, 0x74, 0x04, 0x0C, 0x87
_RETURN, _RETURN_A = 0x06, 0x16


class _Step(NamedTuple):
    code: int
    value: int = 0
    yes: str = ""
    no: str = ""
    label: str = ""


_STEPS = (
    _Step(_LOAD_HALF, 12),
    _Step(_EQUALS, 0x0800, no="not IPv4"),
    _Step(_LOAD_HALF, 20),
    _Step(_ANY_BIT, 0x1FFF, yes="nothing"),  # a later fragment
    _Step(_LENGTH_TO_X, 14),
    _Step(_LOAD_BYTE, 23),
    _Step(_EQUALS, 17, yes="UDP over IPv4"),
    _Step(_EQUALS, 6, no="nothing"),
    _Step(_LOAD_BYTE_BEYOND_X, 26),
    _Step(_AND, 0xF0),
    _Step(_SHIFT_RIGHT, 2),
    _Step(_ADD_X),
    _Step(_ADD, 14),
    _Step(_RETURN_A),
    _Step(_X_TO_A, label="UDP over IPv4"),
    _Step(_ADD, 14 + 8),
    _Step(_RETURN_A),
    _Step(_EQUALS, 0x86DD, no="nothing", label="not IPv4"),
    _Step(_LOAD_BYTE, 20),
    _Step(_EQUALS, 17, yes="UDP over IPv6"),
    _Step(_EQUALS, 6, no="nothing"),
    _Step(_LOAD_BYTE, 66),
    _Step(_AND, 0xF0),
    _Step(_SHIFT_RIGHT, 2),
    _Step(_ADD, 54),
    _Step(_RETURN_A),
    _Step(_RETURN, 62, label="UDP over IPv6"),
    _Step(_RETURN, 0, label="nothing"),
)


def _assembled() -> list[tuple[int, int, int, int]]:
    """Jumps count the steps between."""
    places = {step.label: number for number, step in enumerate(_STEPS) if step.label}

    def away(label: str, number: int) -> int:
        return places[label] - number - 1 if label else 0

    return [(s.code, away(s.yes, number), away(s.no, number), s.value) for number, s in enumerate(_STEPS)]


PROGRAM = _assembled()
"""Code, jump if true, jump if false, value."""

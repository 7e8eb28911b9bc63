"""What the headers of a frame tell of its TCP segment: enough to know which bytes it carries, and which it confirms."""

from __future__ import annotations

import struct
from dataclasses import dataclass

_VLANS = (b"\x81\x00", b"\x88\xa8")
_IPV4, _IPV6 = b"\x08\x00", b"\x86\xdd"
_TCP = 6
_HEADER = struct.Struct("!HHIIBB")
_FIN, _SYN, _ACK = 0x01, 0x02, 0x10
_HALF, _WHOLE = 1 << 31, 1 << 32


@dataclass(frozen=True)
class Segment:
    """One TCP segment. Its numbers go round: compare them by `is_reached`."""

    flow: bytes
    """VLAN, addresses and ports, as its sender names them."""
    back: bytes
    """The same, as its receiver does."""
    start: int
    end: int
    """The number after its last byte."""
    ack: int | None
    """Its sender has every byte of the other's before this one."""
    is_syn: bool


def segment_in(frame: bytes) -> Segment | None:
    """None where there is none, or one that is not worth the trouble: fragments, options and extensions of IP.

    The frame may be cut behind its TCP header.
    """
    at = 12
    while frame[at : at + 2] in _VLANS:
        at += 4
    vlan, kind, at = frame[12:at], frame[at : at + 2], at + 2
    if kind == _IPV4 and len(frame) >= at + 40:
        is_plain = frame[at] == 0x45 and frame[at + 9] == _TCP and not int.from_bytes(frame[at + 6 : at + 8]) & 0x3FFF
        size, width, at = int.from_bytes(frame[at + 2 : at + 4]) - 20, 4, at + 12
    elif kind == _IPV6 and len(frame) >= at + 60:
        is_plain = frame[at + 6] == _TCP
        size, width, at = int.from_bytes(frame[at + 4 : at + 6]), 16, at + 8
    else:
        return None
    return _segment(frame, vlan, at=at, width=width, size=size) if is_plain else None


def is_reached(end: int, by: int) -> bool:
    """Whether the second number is not before the first."""
    return (by - end) % _WHOLE < _HALF


def _segment(frame: bytes, vlan: bytes, *, at: int, width: int, size: int) -> Segment | None:
    """The addresses begin there, the segment has that many bytes; none where the length is told elsewhere (0)."""
    sender, receiver = frame[at : at + width], frame[at + width : at + 2 * width]
    at += 2 * width
    _, _, start, ack, offset, flags = _HEADER.unpack_from(frame, at)
    if (carried := size - (offset >> 4) * 4) < 0:
        return None
    here, there = frame[at : at + 2], frame[at + 2 : at + 4]
    return Segment(
        flow=vlan + sender + receiver + here + there,
        back=vlan + receiver + sender + there + here,
        start=start,
        end=(start + carried + bool(flags & _SYN) + bool(flags & _FIN)) % _WHOLE,
        ack=ack if flags & _ACK else None,
        is_syn=bool(flags & _SYN),
    )

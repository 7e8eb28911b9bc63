"""What the headers of a frame tell of its TCP segment: enough to know which bytes it carries, and which it confirms."""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

_VLANS = (b"\x81\x00", b"\x88\xa8")
_IPV4, _IPV6 = b"\x08\x00", b"\x86\xdd"
_TCP = 6
_HEADER = struct.Struct("!HHIIBB")
_NUMBER = struct.Struct("!I")
_FIN, _SYN, _ACK = 0x01, 0x02, 0x10
_HALF, _WHOLE = 1 << 31, 1 << 32


class Segment(NamedTuple):
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
    place: slice
    """Where addresses and ports are in its frame, and in each one of its flow and of the way back; `start` follows."""

    @property
    def ends(self) -> bytes:
        """Addresses and ports as they are there."""
        return self.flow[self.place.start - self.place.stop :]

    @property
    def ends_back(self) -> bytes:
        """The same, in frames of the way back."""
        return self.back[self.place.start - self.place.stop :]


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


def that_may_reach(segment: Segment, frames: Sequence[bytes]) -> Iterator[bytes]:
    """Those frames of the segment's flow that reach its end, and few others: one quick look at each of ten thousand.

    A frame carries fewer bytes than it has (a guest drops one that claims more), so where it starts tells enough. And
    addresses, ports and `start`, one behind the other, compare as bytes like numbers.
    """
    first = (segment.end - max(map(len, frames), default=0)) % _WHOLE
    last = (segment.end + _HALF - 1) % _WHOLE
    place = slice(segment.place.start, segment.place.stop + _NUMBER.size)
    for low, high in [(first, last)] if first <= last else [(first, _WHOLE - 1), (0, last)]:
        lowest, highest = segment.ends + _NUMBER.pack(low), segment.ends + _NUMBER.pack(high)
        yield from (frame for frame in frames if lowest <= frame[place] <= highest)


def that_may_acknowledge(segment: Segment, frames: Iterable[bytes]) -> Iterator[bytes]:
    """Those frames of the way back that acknowledge the segment's end, and few others, as quickly."""
    place, ends = segment.place, segment.ends_back
    ack = slice(place.stop + _NUMBER.size, place.stop + 2 * _NUMBER.size)
    for frame in frames:
        if frame[place] == ends and is_reached(segment.end, int.from_bytes(frame[ack])):
            yield frame


def _segment(frame: bytes, vlan: bytes, *, at: int, width: int, size: int) -> Segment | None:
    """The addresses begin there, the segment has that many bytes; none where the length is told elsewhere (0)."""
    sender, receiver = frame[at : at + width], frame[at + width : at + 2 * width]
    place = slice(at, at + 2 * width + 4)
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
        place=place,
    )

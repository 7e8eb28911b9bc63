"""Reads a capture (pcap or pcapng, packed by gzip or not) packet by packet, in memory that its size does not change."""

from __future__ import annotations

import gzip
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO, NamedTuple, cast

from godwit.core.errors import Invalid

ETHERNET, LINUX_ANY, LINUX_ANY_2 = 1, 113, 276
"""Link types (tcpdump.org/linktypes.html): Ethernet, and `tcpdump -i any` in its old and its present form."""
LINKS = frozenset({ETHERNET, LINUX_ANY, LINUX_ANY_2})
PACKET_BYTES_MAX = 262_144
"""MAXIMUM_SNAPLEN of libpcap: no sound capture holds a longer packet."""
KEPT_BYTES = 256
"""Of each packet: headers, no more."""
BLOCK_BYTES_MAX = 64 * 1024 * 1024

_MAGICS = {
    b"\xd4\xc3\xb2\xa1": ("<", 1e-3),
    b"\xa1\xb2\xc3\xd4": (">", 1e-3),
    b"\x4d\x3c\xb2\xa1": ("<", 1e-6),
    b"\xa1\xb2\x3c\x4d": (">", 1e-6),
}
_GZIP = b"\x1f\x8b"
_SECTION = b"\x0a\x0d\x0d\x0a"
_INTERFACE, _OLD_PACKET, _SIMPLE_PACKET, _PACKET = 1, 2, 3, 6
_NAME, _RESOLUTION, _OFFSET, _FLAGS = 2, 9, 14, 2
_SKIP_BYTES = 1 << 20
INTERFACES_MAX = 1024


class Packet(NamedTuple):
    """One captured packet, cut to `KEPT_BYTES`."""

    number: int
    """As Wireshark and `tcpdump --number` count: from 1."""
    at_ms: float
    """Unix time."""
    interface: int
    link: int
    data: bytes
    length: int
    """On the wire."""
    is_outgoing: bool | None = None
    """As the capture says it; none where it does not."""


@dataclass
class Interface:
    """Where some of a capture's packets were seen."""

    link: int
    name: str = ""
    ms_per_tick: float = 1e-3
    offset_ms: float = 0.0


class _Damaged(Exception):
    """The rest of the capture cannot be read."""


class Capture:
    """An open capture. Iterating reads it from its present place to its end, or to where it is damaged."""

    def __init__(self, stream: BinaryIO, name: str) -> None:
        self.name = name
        self.interfaces: list[Interface] = []
        self.problem = ""
        """After iterating: why the rest could not be read; empty when all was read."""
        self._stream = stream
        self._order = "<"
        self._number = 0

    def __iter__(self) -> Iterator[Packet]:
        """The packets; `Invalid` when this is no capture at all."""
        try:
            magic = self._read(4)
            if magic.startswith(_GZIP):
                self._stream.seek(0)
                self._stream = cast(BinaryIO, gzip.GzipFile(fileobj=self._stream))
                magic = self._read(4)
            if magic in _MAGICS:
                yield from self._classic(*_MAGICS[magic])
            elif magic == _SECTION:
                yield from self._blocks()
            else:
                raise Invalid(f"{self.name} is neither a pcap nor a pcapng file: save it with tcpdump -w or Wireshark")
        except _Damaged as damage:
            self.problem = f"{self.name} can be read up to packet {self._number} only: {damage}"

    def _classic(self, order: str, ms_per_tick: float) -> Iterator[Packet]:
        rest = self._exactly(20)
        self._add(Interface(struct.unpack_from(order + "I", rest, 16)[0] & 0xFFFF, ms_per_tick=ms_per_tick))
        header = struct.Struct(order + "IIII")
        while head := self._read(16):
            if len(head) < 16:
                raise _Damaged("it ends within a packet's header")
            seconds, ticks, captured, length = header.unpack(head)
            yield self._packet(0, seconds * 1000.0 + ticks * ms_per_tick, (captured, length))

    def _packet(self, interface: int, at_ms: float, sizes: tuple[int, int], is_outgoing: bool | None = None) -> Packet:
        captured, length = sizes
        if captured > PACKET_BYTES_MAX or not length:
            raise _Damaged("the next packet's size is impossible")
        data = self._exactly(min(captured, KEPT_BYTES))
        self._skip(captured - len(data))
        self._number += 1
        return Packet(self._number, at_ms, interface, self.interfaces[interface].link, data, length, is_outgoing)

    def _blocks(self) -> Iterator[Packet]:
        self._section()
        while head := self._read(4):
            if head == _SECTION:
                self._section()
                continue
            if len(head) < 4:
                raise _Damaged("it ends within a block")
            kind = struct.unpack(self._order + "I", head)[0]
            size = struct.unpack(self._order + "I", self._exactly(4))[0]
            if size < 12 or size % 4 or size > BLOCK_BYTES_MAX:
                raise _Damaged("the next block's size is impossible")
            yield from self._block(kind, size - 12)
            self._exactly(4)

    def _block(self, kind: int, size: int) -> Iterator[Packet]:
        if kind == _PACKET and size >= 20:
            yield self._enhanced(size)
        elif kind == _OLD_PACKET and size >= 20:
            yield self._old(size)
        elif kind == _SIMPLE_PACKET and size >= 4:
            yield self._simple(size)
        elif kind == _INTERFACE and size >= 8:
            self._describe(size)
        else:
            self._skip(size)

    def _section(self) -> None:
        """Interfaces are numbered anew in each section; ours go on counting, so that places stay apart."""
        size = self._exactly(4)
        order = self._exactly(4)
        if order not in (b"\x4d\x3c\x2b\x1a", b"\x1a\x2b\x3c\x4d"):
            raise _Damaged("a section's byte order is unknown")
        self._order = "<" if order[0] == 0x4D else ">"
        length = struct.unpack(self._order + "I", size)[0]
        if length < 28 or length % 4 or length > BLOCK_BYTES_MAX:
            raise _Damaged("a section's size is impossible")
        self._skip(length - 12)
        self._first_interface = len(self.interfaces)

    def _describe(self, size: int) -> None:
        fixed = self._exactly(8)
        described = Interface(struct.unpack_from(self._order + "H", fixed)[0])
        for code, value in self._options(size - 8):
            if code == _NAME:
                described.name = value.decode(errors="replace")[:40].strip("\0")
            elif code == _RESOLUTION and value:
                exponent = value[0] & 0x7F
                described.ms_per_tick = 1000.0 * (2.0 if value[0] & 0x80 else 10.0) ** -exponent
            elif code == _OFFSET and len(value) == 8:
                described.offset_ms = struct.unpack(self._order + "q", value)[0] * 1000.0
        self._add(described)

    def _options(self, size: int) -> list[tuple[int, bytes]]:
        """What stands in the rest of the block, of which no more than is sensible is looked at."""
        data = self._exactly(min(size, 4096))
        self._skip(size - len(data))
        found, at = [], 0
        while at + 4 <= len(data):
            code, length = struct.unpack_from(self._order + "HH", data, at)
            if code == 0:
                break
            found.append((code, data[at + 4 : at + 4 + length]))
            at += 4 + (length + 3) // 4 * 4
        return found

    def _enhanced(self, size: int) -> Packet:
        number, high, low, captured, length = struct.unpack(self._order + "IIIII", self._exactly(20))
        rest = self._within(size - 20, captured)
        interface = self._interface(number)
        packet = self._packet(interface, self._time(interface, high, low), (captured, length))
        padding = -captured % 4
        self._skip(padding)
        options = dict(self._options(rest - padding)) if rest > padding else {}
        way = options.get(_FLAGS, b"")
        if len(way) == 4 and (known := struct.unpack(self._order + "I", way)[0] & 3) in (1, 2):
            return packet._replace(is_outgoing=known == 2)
        return packet

    def _old(self, size: int) -> Packet:
        number, _, high, low, captured, length = struct.unpack(self._order + "HHIIII", self._exactly(20))
        rest = self._within(size - 20, captured)
        interface = self._interface(number)
        packet = self._packet(interface, self._time(interface, high, low), (captured, length))
        self._skip(rest)
        return packet

    def _simple(self, size: int) -> Packet:
        """It has no time: it counts as seen at zero, which places it before all others."""
        length = struct.unpack(self._order + "I", self._exactly(4))[0]
        captured = min(length, size - 4)
        packet = self._packet(self._interface(0), 0.0, (captured, length))
        self._skip(size - 4 - captured)
        return packet

    def _within(self, room: int, captured: int) -> int:
        if captured > room:
            raise _Damaged("a packet is longer than its block")
        return room - captured

    def _interface(self, number: int) -> int:
        own = number + self._first_interface
        if own >= len(self.interfaces):
            raise _Damaged("a packet names an interface that is not described")
        return own

    def _time(self, interface: int, high: int, low: int) -> float:
        place = self.interfaces[interface]
        return ((high << 32) | low) * place.ms_per_tick + place.offset_ms

    def _add(self, interface: Interface) -> None:
        if len(self.interfaces) == INTERFACES_MAX:
            raise _Damaged(f"it describes more than {INTERFACES_MAX} interfaces")
        self.interfaces.append(interface)

    def _exactly(self, count: int) -> bytes:
        data = self._read(count)
        if len(data) < count:
            raise _Damaged("it ends within a packet")
        return data

    def _read(self, count: int) -> bytes:
        try:
            return self._stream.read(count)
        except (EOFError, zlib.error, gzip.BadGzipFile) as error:
            raise _Damaged("it was packed by gzip, and the rest is cut off or damaged") from error

    def _skip(self, count: int) -> None:
        while count > 0:
            count -= len(self._exactly(min(count, _SKIP_BYTES)))

"""Headers of the frames that pass a VM's tap, kept for a while in memory that the kernel fills by itself.

A packet ring (packet_mmap, TPACKET_V3): nobody is woken and nothing is copied to us while the VM works. A filter lets
only TCP and UDP over IPv4 and IPv6 through, cut behind their headers: no payload is ever kept.
"""

from __future__ import annotations

import ctypes
import mmap
import os
import socket
import struct
from collections.abc import Iterator

from godwit.core.errors import Failed
from godwit.diagnosis.capture import ETHERNET, Packet
from godwit.network.headers_filter import PROGRAM
from godwit.network.packet import PacketSocket

BLOCK_BYTES, BLOCKS = 16 * 1024, 512
"""8 MiB: some 48,000 frames."""
CLOSED_AFTER_MS = 60
"""A block that is not full is closed all the same: the ring holds 30 s of a VM that says little."""

_SOL_PACKET = 263
_PACKET_RX_RING, _PACKET_STATISTICS, _PACKET_VERSION = 5, 6, 10
_TPACKET_V3 = 2
_SO_ATTACH_FILTER = 26
_ETH_P_ALL = 0x0003
_OUTGOING = 4
_FRAME_BYTES = 2048
_REQUEST = struct.Struct("=7I")
_BLOCK = struct.Struct("=6I")
"""tpacket_block_desc: version, offset to private, status, packets, offset to the first one, length."""
_LAST_STAMP, _LAST_STAMP_AT = struct.Struct("=II"), 40
_FRAME = struct.Struct("=6IHH")
"""tpacket3_hdr: next, seconds, nanoseconds, snapped, length, status, offsets of Ethernet and of what it carries."""
_KIND_AT = 48 + 10
"""sockaddr_ll's packet type, behind the header."""
_KERNEL, _USER = 0, 1
_STATUS_AT = 8
_libc = ctypes.CDLL(None, use_errno=True)


class Headers:
    """The headers that passed one tap since it was opened, or the last of them."""

    def __init__(self, tap: str) -> None:
        """They are being kept from now on; `Failed` when the kernel does not allow it."""
        self.missed = 0
        """Frames for which there was no room."""
        self.forgotten_ms = 0.0
        """The time of the last frame that was given up to make room."""
        self._next = 0
        self._socket = PacketSocket()
        try:
            self._socket.setsockopt(_SOL_PACKET, _PACKET_VERSION, _TPACKET_V3)
            _attach(self._socket)
            frames = BLOCK_BYTES // _FRAME_BYTES * BLOCKS
            ring = _REQUEST.pack(BLOCK_BYTES, BLOCKS, _FRAME_BYTES, frames, CLOSED_AFTER_MS, 0, 0)
            _set(self._socket, _PACKET_RX_RING, ring)
            self._memory = mmap.mmap(self._socket.fileno(), BLOCK_BYTES * BLOCKS)
            self._socket.bind((tap, _ETH_P_ALL))
        except (OSError, ValueError) as error:
            self._socket.close()
            raise Failed(
                f"headers cannot be recorded on {tap} ({error}): run the agent as root (CAP_NET_RAW)"
            ) from error

    def forget_before(self, at_ms: float) -> int:
        """Room for new ones: half of the ring is free, and blocks whose last frame is older (Unix time) are given back
        to the kernel; how many.
        """
        for count in range(BLOCKS):
            if not self._is_ours(self._next):
                return count
            if (last_ms := self._last_ms(self._next)) >= at_ms:
                if not self._is_ours((self._next + BLOCKS // 2) % BLOCKS):
                    return count
                self.forgotten_ms = last_ms
            self._give_back()
        return BLOCKS

    def take(self) -> Iterator[Packet]:
        """All that are kept, in order of time, a block at a time given back; those of the last 60 ms may be missing."""
        number = 0
        for _ in range(BLOCKS):
            if not self._is_ours(self._next):
                return
            for packet in self._packets(self._next, number):
                number = packet.number
                yield packet
            self._give_back()

    def close(self) -> None:
        """Nothing is kept any more; closing twice is harmless."""
        if not self._memory.closed:
            self._count()
            self._memory.close()
            self._socket.close()

    def _count(self) -> None:
        counted = struct.unpack_from("=II", self._socket.getsockopt(_SOL_PACKET, _PACKET_STATISTICS, 12))
        self.missed += counted[1]

    def _is_ours(self, block: int) -> bool:
        return bool(_BLOCK.unpack_from(self._memory, block * BLOCK_BYTES)[2] & _USER)

    def _last_ms(self, block: int) -> float:
        seconds, nanoseconds = _LAST_STAMP.unpack_from(self._memory, block * BLOCK_BYTES + _LAST_STAMP_AT)
        return float(seconds * 1000.0 + nanoseconds / 1e6)

    def _give_back(self) -> None:
        struct.pack_into("=I", self._memory, self._next * BLOCK_BYTES + _STATUS_AT, _KERNEL)
        self._next = (self._next + 1) % BLOCKS

    def _packets(self, block: int, number: int) -> Iterator[Packet]:
        _, _, _, count, first, _ = _BLOCK.unpack_from(self._memory, block * BLOCK_BYTES)
        at = block * BLOCK_BYTES + first
        for each in range(1, count + 1):
            following, seconds, nanoseconds, snapped, length, _, mac, _ = _FRAME.unpack_from(self._memory, at)
            data = self._memory[at + mac : at + mac + snapped]
            is_outgoing = self._memory[at + _KIND_AT] == _OUTGOING
            yield Packet(number + each, seconds * 1000.0 + nanoseconds / 1e6, 0, ETHERNET, data, length, is_outgoing)
            at += following


def _set(opened: socket.socket, option: int, value: bytes) -> None:
    """As `setsockopt`, which would let no thread of ours work for the 10 ms that the kernel takes to make a ring."""
    if _libc.setsockopt(opened.fileno(), _SOL_PACKET, option, value, len(value)):
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))


def _attach(opened: socket.socket) -> None:
    code = ctypes.create_string_buffer(b"".join(struct.pack("=HBBI", *each) for each in PROGRAM))
    opened.setsockopt(
        socket.SOL_SOCKET, _SO_ATTACH_FILTER, struct.pack("HxxxxxxL", len(PROGRAM), ctypes.addressof(code))
    )

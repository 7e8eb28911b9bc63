"""Sockets that hear what passes an interface, as far as a filter in the kernel lets it through, and send by it."""

from __future__ import annotations

import ctypes
import os
import socket
import struct
import threading
from collections.abc import Sequence

OUTGOING = 4
"""The kind of a packet that the interface has sent (packet(7), sll_pkttype)."""

SOL_PACKET = 263
_PACKET_AUXDATA = 8
_AUXILIARY = struct.Struct("=IIIHHHH")
"""tpacket_auxdata: status, lengths and offsets, the tag's two halves."""
ANCILLARY_BYTES = 128
"""For that and a time stamp."""
_TAG_VALID, _TYPE_VALID = 0x10, 0x40
_TAG = struct.Struct("!HH")
_VLAN = 0x8100
_SO_ATTACH_FILTER = 26
_ETH_P_ALL = 0x0003
_LOAD_HALF, _EQUALS, _RETURN = 0x28, 0x15, 0x06

Instruction = tuple[int, int, int, int]
Ancillary = list[tuple[int, int, bytes]]
"""As `recvmsg` returns it."""


def close_aside(fd: int) -> None:
    """The descriptor is closed by a thread of its own: what the kernel does then nobody need wait for."""
    threading.Thread(target=os.close, args=(fd,), name="closing", daemon=True).start()


class PacketSocket(socket.socket):
    """A packet socket that nobody waits for at its end.

    The kernel gives one back only when every processor has looked elsewhere since (packet_release, synchronize_net):
    4 to 15 ms each, which was a tenth of a move's time, and of some the agent's loop stood still for.
    """

    def __init__(self) -> None:
        super().__init__(socket.AF_PACKET, socket.SOCK_RAW | socket.SOCK_CLOEXEC, 0)

    def close(self) -> None:
        """It is not to be used any more, and gone within some milliseconds; closing twice is harmless."""
        if (fd := self.detach()) >= 0:
            close_aside(fd)


def hearing(interface: str, ethertypes: Sequence[int], *, most_bytes: int) -> socket.socket:
    """Frames of these types that pass there, the first bytes of each; also what is sent by it reaches others."""
    buffer = ctypes.create_string_buffer(
        b"".join(struct.pack("=HBBI", *each) for each in _program(ethertypes, most_bytes))
    )
    count = len(ethertypes) + 3
    ear = PacketSocket()
    ear.setblocking(False)
    ear.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_FILTER, struct.pack("HxxxxxxL", count, ctypes.addressof(buffer)))
    ear.bind((interface, _ETH_P_ALL))
    return ear


def tell_tags(ear: socket.socket) -> None:
    """Beside each frame its VLAN tag is told, which the kernel takes out of it before anybody may look."""
    ear.setsockopt(SOL_PACKET, _PACKET_AUXDATA, 1)


def tag_of(ancillary: Ancillary) -> bytes:
    """The tag as it was in the frame, behind the addresses; empty if there was none."""
    for level, kind, told in ancillary:
        if (level, kind) == (SOL_PACKET, _PACKET_AUXDATA):
            status, *_, tag, type_ = _AUXILIARY.unpack_from(told)
            return _TAG.pack(type_ if status & _TYPE_VALID else _VLAN, tag) if status & _TAG_VALID else b""
    return b""


def vlan_of(ancillary: Ancillary) -> int | None:
    """The number of the VLAN that the frame was tagged with."""
    tag = tag_of(ancillary)
    return _TAG.unpack(tag)[1] & 0x0FFF if tag else None


def _program(ethertypes: Sequence[int], most_bytes: int) -> list[Instruction]:
    """Classic BPF: each type jumps to the return that accepts."""
    count = len(ethertypes)
    tests = [(_EQUALS, count - 1 - at, 0 if at < count - 1 else 1, kind) for at, kind in enumerate(ethertypes)]
    return [(_LOAD_HALF, 0, 0, 12), *tests, (_RETURN, 0, 0, most_bytes), (_RETURN, 0, 0, 0)]

"""A socket that hears what passes an interface, as far as a filter in the kernel lets it through."""

from __future__ import annotations

import ctypes
import socket
import struct
from collections.abc import Sequence

OUTGOING = 4
"""The kind of a packet that the interface has sent (packet(7), sll_pkttype)."""

_SO_ATTACH_FILTER = 26
_ETH_P_ALL = 0x0003
_LOAD_HALF, _EQUALS, _RETURN = 0x28, 0x15, 0x06

Instruction = tuple[int, int, int, int]


def hearing(interface: str, ethertypes: Sequence[int], *, most_bytes: int) -> socket.socket:
    """Frames of these types that pass there, the first bytes of each; also what is sent by it reaches others."""
    buffer = ctypes.create_string_buffer(
        b"".join(struct.pack("=HBBI", *each) for each in _program(ethertypes, most_bytes))
    )
    count = len(ethertypes) + 3
    ear = socket.socket(socket.AF_PACKET, socket.SOCK_RAW | socket.SOCK_CLOEXEC, 0)
    ear.setblocking(False)
    ear.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_FILTER, struct.pack("HxxxxxxL", count, ctypes.addressof(buffer)))
    ear.bind((interface, _ETH_P_ALL))
    return ear


def _program(ethertypes: Sequence[int], most_bytes: int) -> list[Instruction]:
    """Classic BPF: each type jumps to the return that accepts."""
    count = len(ethertypes)
    tests = [(_EQUALS, count - 1 - at, 0 if at < count - 1 else 1, kind) for at, kind in enumerate(ethertypes)]
    return [(_LOAD_HALF, 0, 0, 12), *tests, (_RETURN, 0, 0, most_bytes), (_RETURN, 0, 0, 0)]

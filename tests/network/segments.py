"""TCP segments in frames, as bytes."""

from __future__ import annotations

import struct

ACK, SYN, FIN = 0x10, 0x02, 0x01
Place = tuple[str, int]


def packet(sender: Place, receiver: Place, *, seq: int = 0, ack: int = 0, size: int = 0, flags: int = ACK) -> bytes:
    ports = struct.pack("!HHIIBB6x", sender[1], receiver[1], seq % 2**32, ack % 2**32, 5 << 4, flags)
    ends = b"".join(bytes(map(int, place[0].split("."))) for place in (sender, receiver))
    header = struct.pack("!BBHHHBBH", 0x45, 0, 40 + size, 0, 0, 64, 6, 0) + ends
    return (bytes(12) + b"\x08\x00" + header + ports + bytes(size)).ljust(60, b"\0")


def six(sender: Place, receiver: Place, *, seq: int = 0, ack: int = 0, size: int = 0, flags: int = ACK) -> bytes:
    ports = struct.pack("!HHIIBB6x", sender[1], receiver[1], seq % 2**32, ack % 2**32, 5 << 4, flags)
    ends = b"".join(bytes(12) + bytes(map(int, place[0].split("."))) for place in (sender, receiver))
    return bytes(12) + b"\x86\xdd" + struct.pack("!IHBB", 6 << 28, 20 + size, 6, 64) + ends + ports + bytes(size)

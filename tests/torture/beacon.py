"""Captures a VM's pings at the ports of a switch: one line for each, `UNIX_MS PORT SEQUENCE`. Needs no other module.

beacon.py MAC PORT...
"""

from __future__ import annotations

import socket
import struct
import sys
import time

ETH_P_IP = 0x0800
ETH_P_ALL = 0x0003
"""A bridge takes what comes in by a port before sockets for one protocol are asked: those for all hear it first."""
PACKET_OUTGOING = 4
SOCKET_BYTES = 8 << 20
ICMP = 1
ECHO_REQUEST = 8


def sequence(frame: bytes, mac: bytes) -> int | None:
    """Of a ping that the VM sent; none: it is another frame."""
    if len(frame) < 42 or frame[6:12] != mac or struct.unpack_from("!H", frame, 12)[0] != ETH_P_IP:
        return None
    header = (frame[14] & 0x0F) * 4
    if frame[23] != ICMP or frame[14 + header] != ECHO_REQUEST:
        return None
    number: int = struct.unpack_from("!H", frame, 14 + header + 6)[0]
    return number


def main(argv: list[str]) -> None:
    mac = bytes.fromhex(argv[0].replace(":", ""))
    ports = frozenset(argv[1:])
    # one socket for all ports, or what came by two of them while we had no CPU could be read in another order
    with socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ETH_P_ALL)) as listening:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, SOCKET_BYTES)
        print("ready", flush=True)
        while True:
            frame, address = listening.recvfrom(256)
            if address[0] not in ports or address[2] == PACKET_OUTGOING:
                continue
            if (number := sequence(frame, mac)) is not None:
                print(f"{time.time() * 1000:.3f} {address[0]} {number}", flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])

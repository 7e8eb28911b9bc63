"""A witness: sees the VM's own frames arrive from an uplink, which proves that the switches between have learned.

Only a frame sent from the VM's new place can come in by an uplink of its old one: announcements (RARP, gratuitous ARP,
unsolicited neighbour advertisements) or anything else that the VM sends.
"""

from __future__ import annotations

import asyncio
import ctypes
import socket
import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from time import time

from godwit.network import tunnel
from godwit.network.netlink import index_of, opened
from godwit.network.packet import PacketSocket
from godwit.network.switch import Uplink

OWN_PORTS = ("gw-", "gx-", *tunnel.ENDS)
"""How the names of taps, cables and tunnels begin; every other port of a switch is an uplink."""
KINDS = {0x8035: "rarp", 0x0806: "arp", 0x86DD: "ipv6", 0x0800: "ipv4"}

_SO_ATTACH_FILTER = 26
_PACKET_OUTGOING = 4
_ETH_P_ALL = 0x0003
_SEEN_BYTES = 128
_LOAD_WORD, _LOAD_HALF, _EQUALS, _RETURN = 0x20, 0x28, 0x15, 0x06


@dataclass(frozen=True)
class Sighting:
    """One frame of the VM that came in by an uplink."""

    kind: str
    port: str
    at_ms: float
    """Unix time."""


class Witness:
    """Listens at a switch's uplinks for frames from one VM, in the running event loop, until closed.

    With `ethertype` it listens for frames of that type to the VM instead.
    """

    def __init__(
        self, mac: str, uplinks: Sequence[Uplink], saw: Callable[[Sighting], None], *, ethertype: int | None = None
    ) -> None:
        self._saw = saw
        program = spoken_by(mac) if ethertype is None else _to(mac, ethertype)
        self._sockets = [listening(each.name, program) for each in uplinks]
        self._loop = asyncio.get_running_loop()
        for each in self._sockets:
            self._loop.add_reader(each, self._read, each)

    def close(self) -> None:
        """It listens no more; closing twice is harmless."""
        for each in self._sockets:
            self._loop.remove_reader(each)
            each.close()
        self._sockets = []

    def _read(self, listening: socket.socket) -> None:
        try:
            data, address = listening.recvfrom(_SEEN_BYTES)
        except OSError:  # told once, of a port that is or was down
            return
        if address[2] != _PACKET_OUTGOING and len(data) >= 14:
            kind = KINDS.get(struct.unpack_from("!H", data, 12)[0], "other")
            self._saw(Sighting(kind, address[0], time() * 1000))


async def uplinks(bridge: str) -> list[str]:
    """The ports of that bridge that lead out of this host."""
    return await asyncio.to_thread(_uplinks, bridge)


def _uplinks(bridge: str) -> list[str]:
    with opened(f"looking for the uplinks of {bridge}") as ip:
        names = [link.get_attr("IFLA_IFNAME") for link in ip.link("dump", master=index_of(bridge))]
    return [name for name in names if not name.startswith(OWN_PORTS)]


Program = list[tuple[int, int, int, int]]
"""Classic BPF on the Ethernet header: the kernel lets nothing else through."""


def spoken_by(mac: str) -> Program:
    """Lets frames from that VM through."""
    sender = bytes.fromhex(mac.replace(":", ""))
    return [
        (_LOAD_WORD, 0, 0, 6),
        (_EQUALS, 0, 3, int.from_bytes(sender[:4])),
        (_LOAD_HALF, 0, 0, 10),
        (_EQUALS, 0, 1, int.from_bytes(sender[4:])),
        (_RETURN, 0, 0, _SEEN_BYTES),
        (_RETURN, 0, 0, 0),
    ]


def _to(mac: str, ethertype: int) -> Program:
    receiver = bytes.fromhex(mac.replace(":", ""))
    return [
        (_LOAD_WORD, 0, 0, 0),
        (_EQUALS, 0, 5, int.from_bytes(receiver[:4])),
        (_LOAD_HALF, 0, 0, 4),
        (_EQUALS, 0, 3, int.from_bytes(receiver[4:])),
        (_LOAD_HALF, 0, 0, 12),
        (_EQUALS, 0, 1, ethertype),
        (_RETURN, 0, 0, _SEEN_BYTES),
        (_RETURN, 0, 0, 0),
    ]


def listening(port: str, program: Program) -> socket.socket:
    """A socket that hears at an interface what the program lets through, and does not block."""
    code = b"".join(struct.pack("=HBBI", *each) for each in program)
    buffer = ctypes.create_string_buffer(code)
    listening = PacketSocket()
    listening.setblocking(False)
    fprog = struct.pack("HxxxxxxL", len(program), ctypes.addressof(buffer))
    listening.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_FILTER, fprog)
    listening.bind((port, _ETH_P_ALL))
    return listening

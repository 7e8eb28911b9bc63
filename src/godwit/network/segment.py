"""Is it one layer 2 segment? Two hosts send frames out of the uplinks of a bridge and listen there for each other's.

The frames are broadcasts of the local experimental ethertype (IEEE 802, 88-B5) with the uplink's own address as sender,
so that no switch learns anything new: a small one, and one as long as the bridge's MTU allows. A frame tells whether
its sender has heard the other, and is answered at once, so both end as soon as both know. Beside them an ARP probe (RFC
5227) asks for addresses that are the VM's: it leaves by the uplinks only, so any answer is somebody else's.

Whatever a host hears of its own has left by one cable and come back by another: the switch takes two uplinks that are
one to the host for two, or the cables form a loop. Uplinks that share their work divide it by flow, so some of the
probes are UDP to several ports, of which no program can hold one by chance.
"""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import Callable, Mapping
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from functools import partial
from ipaddress import IPv4Address

from godwit.core.looked import Claim, Heard, SegmentLook
from godwit.network.frames import arp_probe, in_vlan, udp_broadcast
from godwit.network.netlink import index_of, opened
from godwit.network.packet import ANCILLARY_BYTES, OUTGOING, SOL_PACKET, hearing, tell_tags, vlan_of
from godwit.network.switch import Switch
from godwit.network.witness import listening, spoken_by

EVERY_S = 0.03
"""Frames get lost, and others than the other host need a moment to answer: both listen at least as long."""
LONGEST_S = 1.0
"""Then what has not come will not."""

_MAGIC = b"godwit1"
_BODY = struct.Struct("!7s8sBH")
_EVERYBODY = b"\xff" * 6
_FLOWS = (8, 10, 15)
"""UDP ports that belong to nobody: guests hear these frames too, and somebody may listen at discard's (9)."""
_PROBE, _ARP = 0x88B5, 0x0806
_SHORTEST, _LONGEST_SHORT = 60, 128
_HEADER = 14
_PACKET_IGNORE_OUTGOING = 23


@dataclass
class Exchange:
    """One host's half for one network."""

    switch: Switch
    own: str
    """This host's name."""
    other: str
    token: bytes
    addresses: tuple[IPv4Address, ...] = ()
    mtu: int = 0
    heard: Heard | None = None
    claims: set[tuple[str, str]] = field(default_factory=set)
    returned: dict[str, None] = field(default_factory=dict)
    """The uplinks by which our own frames came in, in order."""
    _is_heard: bool = False
    """The other says that it has heard us to the full."""
    _is_full: bool = False
    """We have heard the longest frame that the other can send."""
    _news: asyncio.Event = field(default_factory=asyncio.Event)
    """More is known than when we last spoke."""

    async def run(self, network: str) -> SegmentLook:
        """What came within a second at most; `NotFound` without such a bridge."""
        self.mtu, uplinks, habits = await asyncio.gather(
            asyncio.to_thread(_mtu, self.switch.bridge), self.switch.uplinks(), self.switch.habits()
        )
        with ExitStack() as stack:
            sockets = {_listening(each.name): each.vlan for each in uplinks}
            for each, vlan in sockets.items():
                _attend(stack, each, partial(self._read, vlan))
                _attend(stack, _echoing(each), self._take_back)
            await self._speak(sockets)
        claims = tuple(Claim(ip=ip, mac=mac) for ip, mac in sorted(self.claims))
        heard = (self.heard,) if self.heard else ()
        return SegmentLook(
            network=network,
            bridge=self.switch.bridge,
            mtu=self.mtu,
            uplinks=tuple(each.name for each in uplinks),
            has_stp=habits.has_stp,
            is_programmed=habits.is_programmed,
            heard=heard,
            claims=claims,
            returned=tuple(self.returned),
        )

    async def _speak(self, sockets: Mapping[socket.socket, int | None]) -> None:
        loop = asyncio.get_running_loop()
        least, end = loop.time() + EVERY_S, loop.time() + LONGEST_S
        while sockets and loop.time() < end:
            is_done = self._is_full and self._is_heard
            self._news.clear()
            for each, vlan in sockets.items():
                for frame in self._frames(each.getsockname()[4]):
                    with suppress(OSError):  # down, or too long for it: not heard, then
                        each.send(in_vlan(frame, vlan))
            if is_done:
                await asyncio.sleep(least - loop.time())
                return
            with suppress(TimeoutError):
                async with asyncio.timeout(EVERY_S):
                    await self._news.wait()

    def _frames(self, mac: bytes) -> list[bytes]:
        head = _EVERYBODY + mac + struct.pack("!H", _PROBE)
        told = _BODY.pack(_MAGIC, self.token, self._is_full, self.mtu) + self.own.encode() + b"\0"
        asking = [arp_probe(mac, address) for address in self.addresses]
        flows = [udp_broadcast(mac, port, told) for port in _FLOWS]
        return [(head + told).ljust(_SHORTEST, b"\0"), (head + told).ljust(_HEADER + self.mtu, b"\0"), *asking, *flows]

    def _read(self, expected: int | None, listening: socket.socket) -> None:
        """`expected` is the tag of our network's frames there; those without it are another network's."""
        data, ancillary, _, address = listening.recvmsg(65536, ANCILLARY_BYTES)
        if address[2] == OUTGOING or len(data) < _HEADER:
            return
        kind, vlan = struct.unpack_from("!H", data, 12)[0], vlan_of(ancillary)
        if expected and not vlan:
            return
        if kind == _PROBE:
            self._take(data, None if vlan == expected else vlan)
        elif kind == _ARP and len(data) >= 42 and data[20:22] == b"\0\2":
            self._claimed(data)

    def _take(self, data: bytes, vlan: int | None) -> None:
        is_heard, mtu, name = self._told(data, _HEADER)
        if name != self.other:
            return
        longest = max(len(data), self.heard.bytes if self.heard else 0)
        self.heard = Heard(host=name, bytes=longest, vlan=vlan)
        known = (self._is_heard, self._is_full)
        self._is_heard |= is_heard
        self._is_full |= longest >= _HEADER + mtu
        if known != (self._is_heard, self._is_full):
            self._news.set()

    def _take_back(self, listening: socket.socket) -> None:
        data, address = listening.recvfrom(_LONGEST_SHORT)
        if self._told(data, data.find(_MAGIC))[2] == self.own:
            self.returned[address[0]] = None

    def _told(self, data: bytes, at: int) -> tuple[bool, int, str | None]:
        """Whether the sender has heard us, its MTU and its name; no name in what is no probe of this exchange."""
        if at < 0 or len(data) < at + _BODY.size:
            return False, 0, None
        magic, token, is_heard, mtu = _BODY.unpack_from(data, at)
        if (magic, token) != (_MAGIC, self.token):
            return False, 0, None
        return bool(is_heard), mtu, data[at + _BODY.size :].split(b"\0", 1)[0].decode(errors="replace")

    def _claimed(self, data: bytes) -> None:
        ip = IPv4Address(data[28:32])
        if ip in self.addresses:
            self.claims.add((str(ip), data[22:28].hex(":")))


def _mtu(bridge: str) -> int:
    with opened(f"looking at {bridge}") as ip:
        return int(ip.link("get", index=index_of(bridge))[0].get_attr("IFLA_MTU"))


def _listening(port: str) -> socket.socket:
    """Probe frames and ARP, and beside each frame its VLAN tag."""
    listening = hearing(port, (_PROBE, _ARP), most_bytes=65535)
    tell_tags(listening)
    return listening


def _echoing(speaking: socket.socket) -> socket.socket:
    """Hears what comes in by the same interface from that interface's own address."""
    port, *_, mac = speaking.getsockname()
    echoing = listening(port, spoken_by(mac.hex(":")))
    with suppress(OSError):  # before Linux 4.20
        echoing.setsockopt(SOL_PACKET, _PACKET_IGNORE_OUTGOING, 1)
    return echoing


def _attend(stack: ExitStack, ear: socket.socket, read: Callable[[socket.socket], None]) -> None:
    """What it hears is read, until the stack is unwound."""
    loop = asyncio.get_running_loop()
    stack.enter_context(ear)

    def hear() -> None:
        with suppress(OSError):  # told once, of a port that is or was down
            read(ear)

    loop.add_reader(ear, hear)
    stack.callback(loop.remove_reader, ear)

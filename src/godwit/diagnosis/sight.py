"""What one captured packet tells: who sent it, to whom, in which VLAN, and what it was."""

from __future__ import annotations

import struct
from binascii import crc32
from enum import StrEnum
from typing import NamedTuple

from godwit.diagnosis.capture import ETHERNET, LINUX_ANY_2, Packet

EVERYBODY = b"\xff" * 6
_VLAN_TYPES = frozenset({0x8100, 0x88A8, 0x9100})
_IPV4, _ARP, _RARP, _IPV6 = 0x0800, 0x0806, 0x8035, 0x86DD
_ICMP, _TCP, _UDP, _ICMPV6 = 1, 6, 17, 58
_ADVERTISEMENT = 136
_SOLICITED = 0x40
_OUTGOING = 4

FIN, SYN, RST, ACK = 0x01, 0x02, 0x04, 0x10


class Kind(StrEnum):
    """What a frame is, as far as a diagnosis needs to know."""

    rarp = "rarp"
    gratuitous_arp = "gratuitous-arp"
    unsolicited_na = "unsolicited-na"
    arp_request = "arp-request"
    arp_reply = "arp-reply"
    tcp = "tcp"
    udp = "udp"
    icmp = "icmp"
    other = "other"


ANNOUNCEMENTS = frozenset({Kind.rarp, Kind.gratuitous_arp, Kind.unsolicited_na})


class Segment(NamedTuple):
    """The TCP header of a segment."""

    sequence: int
    acknowledged: int
    flags: int
    payload_bytes: int
    window: int


class Sight(NamedTuple):
    """One frame, seen at one place."""

    number: int
    at_ms: float
    place: int
    sender: bytes
    receiver: bytes
    """Empty where the capture does not tell it (`tcpdump -i any`)."""
    is_to_many: bool
    """Broadcast or multicast."""
    is_outgoing: bool | None
    """Left the machine that captured; none where the capture does not tell it."""
    vlans: tuple[int, ...]
    kind: Kind
    ip_from: bytes = b""
    ip_to: bytes = b""
    port_from: int = 0
    port_to: int = 0
    segment: Segment | None = None
    length: int = 0
    identity: int = 0
    """Equal for the same frame seen elsewhere (and, seldom, for another one)."""


class _Frame(NamedTuple):
    sender: bytes
    receiver: bytes
    is_to_many: bool
    is_outgoing: bool | None
    ethertype: int
    start: int
    place: int


def sight_of(packet: Packet, place: int = 0) -> Sight | None:
    """What the packet tells at that place; none when it is too short to tell who sent it."""
    framed = _ethernet(packet) if packet.link == ETHERNET else _any(packet)
    if framed is None:
        return None
    data, start, ethertype = packet.data, framed.start, framed.ethertype
    vlans: tuple[int, ...] = ()
    while ethertype in _VLAN_TYPES and start + 4 <= len(data) and len(vlans) < 2:
        vlans = (*vlans, (data[start] << 8 | data[start + 1]) & 0x0FFF)
        ethertype = data[start + 2] << 8 | data[start + 3]
        start += 4
    is_to_many = framed.is_to_many
    if not framed.receiver and framed.is_outgoing:  # `-i any` does not tell of what it sends
        is_to_many = _is_for_many(ethertype, data[start:])
    seen = Sight(
        packet.number,
        packet.at_ms,
        place,
        framed.sender,
        framed.receiver,
        is_to_many,
        framed.is_outgoing,
        tuple(each for each in vlans if each),  # 0 is a priority without a VLAN
        Kind.other,
        length=packet.length,
    )
    return _told(seen, data, ethertype, start)


def interface_of(packet: Packet) -> int:
    """The number of the interface by which it went, where `tcpdump -i any` tells it; else that of the capture."""
    if packet.link == LINUX_ANY_2 and len(packet.data) >= 8:
        return int.from_bytes(packet.data[4:8])
    return packet.interface


def text(mac: bytes) -> str:
    """As people write it."""
    return mac.hex(":") if mac else "?"


def _ethernet(packet: Packet) -> _Frame | None:
    data = packet.data
    if len(data) < 14:
        return None
    ethertype = data[12] << 8 | data[13]
    return _Frame(data[6:12], data[:6], bool(data[0] & 1), packet.is_outgoing, ethertype, 14, packet.interface)


def _any(packet: Packet) -> _Frame | None:
    data = packet.data
    if packet.link == LINUX_ANY_2:
        if len(data) < 20 or data[11] != 6:
            return None
        ethertype, _, _, _, way, _ = struct.unpack_from("!HHIHBB", data)
        sender, start = data[12:18], 20
    else:
        if len(data) < 16:
            return None
        way, _, size = struct.unpack_from("!HHH", data)
        ethertype = data[14] << 8 | data[15]
        sender, start = data[6:12], 16
        if size != 6:
            return None
    is_outgoing = way == _OUTGOING if way <= _OUTGOING else None
    return _Frame(sender, b"", way in (1, 2), is_outgoing, ethertype, start, packet.interface)


def _is_for_many(ethertype: int, rest: bytes) -> bool:
    """As far as what the frame carries tells."""
    if ethertype == _RARP:
        return True
    if ethertype == _ARP:
        return len(rest) >= 28 and (rest[7] == 1 or rest[14:18] == rest[24:28])
    if ethertype == _IPV4:
        return len(rest) >= 20 and rest[16] >= 224
    return ethertype == _IPV6 and len(rest) >= 40 and rest[24] == 0xFF


def _told(seen: Sight, data: bytes, ethertype: int, start: int) -> Sight:
    rest = data[start:]
    if ethertype == _RARP:
        return seen._replace(kind=Kind.rarp, identity=crc32(seen.sender, _RARP))
    if ethertype == _ARP and len(rest) >= 28:
        return _arp(seen, rest)
    if ethertype == _IPV4 and len(rest) >= 20 and rest[0] >> 4 == 4:
        return _ipv4(seen, rest)
    if ethertype == _IPV6 and len(rest) >= 40 and rest[0] >> 4 == 6:
        return _ipv6(seen, rest)
    return seen._replace(identity=crc32(seen.sender + rest[:46], ethertype))


def _arp(seen: Sight, rest: bytes) -> Sight:
    """The sender's address is that in the message; who relays it may have another one."""
    operation = rest[6] << 8 | rest[7]
    own, ip, sought = rest[8:14], rest[14:18], rest[24:28]
    kind = Kind.arp_reply if operation == 2 else Kind.arp_request
    claimed = ip if any(ip) else b""
    if claimed == sought:
        kind = Kind.gratuitous_arp
    return seen._replace(kind=kind, ip_from=claimed, ip_to=sought, identity=crc32(own + ip + sought, operation))


def _ipv4(seen: Sight, rest: bytes) -> Sight:
    header = (rest[0] & 0x0F) * 4
    total, fragment = rest[2] << 8 | rest[3], (rest[6] << 8 | rest[7]) & 0x1FFF
    seen = seen._replace(ip_from=rest[12:16], ip_to=rest[16:20])
    mark = crc32(rest[2:8] + rest[9:10] + rest[12:20])  # without its time to live and checksum, which routers change
    return _transport(seen, rest[9] if not fragment else -1, rest[header:], (total - header, mark))


def _ipv6(seen: Sight, rest: bytes) -> Sight:
    """Extension headers are not followed: TCP and neighbour discovery come without them."""
    seen = seen._replace(ip_from=rest[8:24], ip_to=rest[24:40])
    return _transport(seen, rest[6], rest[40:], (rest[4] << 8 | rest[5], crc32(rest[4:7] + rest[8:40])))


def _transport(seen: Sight, protocol: int, rest: bytes, measure: tuple[int, int]) -> Sight:
    size, mark = measure
    if protocol == _TCP and len(rest) >= 16:
        source_port, port, sequence, acknowledged, offset, flags, window = struct.unpack_from("!HHIIBBH", rest)
        payload = max(size - (offset >> 4) * 4, 0)
        segment = Segment(sequence, acknowledged, flags, payload, window)
        identity = crc32(rest[:16] + rest[20:36], mark)  # without the checksum, which may be left to hardware
        return seen._replace(kind=Kind.tcp, port_from=source_port, port_to=port, segment=segment, identity=identity)
    if protocol == _UDP and len(rest) >= 8:
        ports = struct.unpack_from("!HH", rest)
        identity = crc32(rest[:6] + rest[8:40], mark)
        return seen._replace(kind=Kind.udp, port_from=ports[0], port_to=ports[1], identity=identity)
    if protocol == _ICMPV6 and len(rest) >= 24 and rest[0] == _ADVERTISEMENT and not rest[4] & _SOLICITED:
        return seen._replace(kind=Kind.unsolicited_na, ip_from=rest[8:24], identity=crc32(rest[:24], mark))
    kind = Kind.icmp if protocol in (_ICMP, _ICMPV6) else Kind.other
    return seen._replace(kind=kind, identity=crc32(rest[:24], mark))

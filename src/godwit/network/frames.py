"""Frames that tell a network where a MAC lives now, as bytes."""

from __future__ import annotations

import struct
from ipaddress import IPv4Address, IPv6Address

_EVERYBODY = b"\xff" * 6
_ALL_NODES = IPv6Address("ff02::1")
_ALL_NODES_MAC = bytes.fromhex("333300000001")
_ALL_HOSTS = IPv4Address("224.0.0.1")
_ALL_HOSTS_MAC = bytes.fromhex("01005e000001")
_NOBODY = bytes.fromhex("020000000000")
_NOBODY_LOCAL = IPv6Address("fe80::ff:fe00:0")
_SOON = 1
"""Tenths of a second within which memberships are to be told."""
_ROBUSTNESS, _QUERY_INTERVAL_S = 2, 125
_IPV4, _ARP, _RARP, _VLAN, _IPV6 = 0x0800, 0x0806, 0x8035, 0x8100, 0x86DD
_ICMPV6 = 58
_FRAME_BYTES_MIN = 60
"""Without the checksum that the hardware adds."""


def rarp(mac: str) -> bytes:
    """A reverse ARP request: teaches switches the MAC's place and says nothing to hosts (as QEMU announces)."""
    own = _bytes(mac)
    return _frame(_EVERYBODY, own, _RARP, _arp(3, own + bytes(4), own + bytes(4)))


def gratuitous_arp(mac: str, ip: IPv4Address) -> bytes:
    """An ARP request for its own address (RFC 5227, announcement): hosts renew their entry of it."""
    own = _bytes(mac)
    return _frame(_EVERYBODY, own, _ARP, _arp(1, own + ip.packed, bytes(6) + ip.packed))


def arp_probe(mac: bytes, ip: IPv4Address) -> bytes:
    """Asks who has that address, and tells nobody one of ours (RFC 5227, probe)."""
    return _frame(_EVERYBODY, mac, _ARP, _arp(1, mac + bytes(4), bytes(6) + ip.packed))


def udp_broadcast(mac: bytes, port: int, payload: bytes) -> bytes:
    """From and to that port, from nobody to everybody on this network (RFC 1122, 3.2.1.3)."""
    datagram = struct.pack("!HHHH", port, port, 8 + len(payload), 0) + payload
    header = struct.pack("!BBHHHBBH", 0x45, 0, 20 + len(datagram), 0, 0, 1, 17, 0) + bytes(4) + _EVERYBODY[:4]
    header = header[:10] + struct.pack("!H", _checksum(header)) + header[12:]
    return _frame(_EVERYBODY, mac, _IPV4, header + datagram)


def unsolicited_na(mac: str, ip: IPv6Address) -> bytes:
    """An unsolicited neighbour advertisement to all nodes with the override flag (RFC 4861, 7.2.6)."""
    own = _bytes(mac)
    message = struct.pack("!BBHI", 136, 0, 0, 0x2000_0000) + ip.packed + b"\x02\x01" + own
    pseudo = ip.packed + _ALL_NODES.packed + struct.pack("!II", len(message), _ICMPV6)
    message = message[:2] + struct.pack("!H", _checksum(pseudo + message)) + message[4:]
    header = struct.pack("!IHBB", 6 << 28, len(message), _ICMPV6, 255) + ip.packed + _ALL_NODES.packed
    return _frame(_ALL_NODES_MAC, own, _IPV6, header + message)


def tagged(frame: bytes, vlan: int) -> bytes:
    """The same in that VLAN (IEEE 802.1Q)."""
    return frame[:12] + struct.pack("!HH", _VLAN, vlan) + frame[12:]


def in_vlan(frame: bytes, vlan: int | None) -> bytes:
    """The same in that VLAN, if any."""
    return tagged(frame, vlan) if vlan else frame


def igmp_query() -> bytes:
    """A general query (RFC 3376, 4.1), from nobody as a snooping switch sends it: who is in which group?"""
    message = struct.pack("!BBHIBBH", 0x11, _SOON, 0, 0, _ROBUSTNESS, _QUERY_INTERVAL_S, 0)
    return _frame(_ALL_HOSTS_MAC, _NOBODY, _IPV4, _ipv4(_ALL_HOSTS, _with_checksum(message)))


def mld_query() -> bytes:
    """The same for IPv6 (RFC 3810, 5.1)."""
    message = struct.pack("!BBHHH16xBBH", 130, 0, 0, _SOON * 100, 0, _ROBUSTNESS, _QUERY_INTERVAL_S, 0)
    return _frame(_ALL_NODES_MAC, _NOBODY, _IPV6, _ipv6(_NOBODY_LOCAL, _ALL_NODES, message))


def igmp_report(mac: str, group: IPv4Address) -> bytes:
    """That machine is in that group (RFC 2236), from an address that is nobody's."""
    message = _with_checksum(struct.pack("!BBH", 0x16, 0, 0) + group.packed)
    receiver = bytes.fromhex("01005e") + bytes([group.packed[1] & 0x7F]) + group.packed[2:]
    return _frame(receiver, _bytes(mac), _IPV4, _ipv4(group, message))


def mld_report(mac: str, group: IPv6Address) -> bytes:
    """The same for IPv6 (RFC 2710; from nobody: RFC 3590)."""
    message = struct.pack("!BBHHH", 131, 0, 0, 0, 0) + group.packed
    return _frame(b"\x33\x33" + group.packed[-4:], _bytes(mac), _IPV6, _ipv6(IPv6Address(0), group, message))


def _ipv4(receiver: IPv4Address, message: bytes) -> bytes:
    """An IGMP message behind its header, from nobody, with the router alert."""
    alert = b"\x94\x04\x00\x00"
    header = struct.pack("!BBHHHBBH", 0x46, 0xC0, 24 + len(message), 0, 0, 1, 2, 0) + bytes(4) + receiver.packed
    return header[:10] + struct.pack("!H", _checksum(header + alert)) + header[12:] + alert + message


def _ipv6(sender: IPv6Address, receiver: IPv6Address, message: bytes) -> bytes:
    """An MLD message with its checksum, behind its headers, the router alert among them."""
    pseudo = sender.packed + receiver.packed + struct.pack("!II", len(message), _ICMPV6)
    message = message[:2] + struct.pack("!H", _checksum(pseudo + message)) + message[4:]
    alert = bytes.fromhex("3a00050200000100")
    header = struct.pack("!IHBB", 6 << 28, len(alert) + len(message), 0, 1) + sender.packed + receiver.packed
    return header + alert + message


def _with_checksum(message: bytes) -> bytes:
    return message[:2] + struct.pack("!H", _checksum(message)) + message[4:]


def _arp(operation: int, sender: bytes, sought: bytes) -> bytes:
    """Of hardware address and IPv4 address of each."""
    return struct.pack("!HHBBH", 1, 0x0800, 6, 4, operation) + sender + sought


def _frame(receiver: bytes, sender: bytes, ethertype: int, payload: bytes) -> bytes:
    return (receiver + sender + struct.pack("!H", ethertype) + payload).ljust(_FRAME_BYTES_MIN, b"\0")


def _checksum(data: bytes) -> int:
    """The Internet checksum (RFC 1071)."""
    total: int = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def _bytes(mac: str) -> bytes:
    return bytes.fromhex(mac.replace(":", ""))

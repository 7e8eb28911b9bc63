"""Announcements byte by byte, and a kernel that believes them."""

from __future__ import annotations

import socket
import struct
from ipaddress import IPv4Address, IPv6Address
from pathlib import Path

import pytest

from godwit.network.frames import gratuitous_arp, igmp_query, mld_query, rarp, tagged, unsolicited_na

from .conftest import Ear, Lan, ip, until

MAC = "52:54:00:12:34:56"


def test_rarp() -> None:
    assert rarp(MAC) == bytes.fromhex(
        "ffffffffffff 525400123456 8035"  # everybody, the VM, RARP
        "0001 0800 06 04 0003"  # Ethernet, IPv4, lengths, reverse request
        "525400123456 00000000 525400123456 00000000"
    ).ljust(60, b"\0")


def test_gratuitous_arp() -> None:
    assert gratuitous_arp(MAC, IPv4Address("10.90.0.100")) == bytes.fromhex(
        "ffffffffffff 525400123456 0806"
        "0001 0800 06 04 0001"
        "525400123456 0a5a0064 000000000000 0a5a0064"
    ).ljust(60, b"\0")  # fmt: skip


def test_unsolicited_na() -> None:
    """The checksum by hand: the words below with those of the pseudo header add up to 0xffff."""
    address = "fe80 0000 0000 0000 5054 00ff fe12 3456"
    frame = unsolicited_na(MAC, IPv6Address("fe80::5054:ff:fe12:3456"))
    assert frame == bytes.fromhex(
        "333300000001 525400123456 86dd"
        "60000000 0020 3a ff" + address + "ff02 0000 0000 0000 0000 0000 0000 0001"
        "88 00 cb68 20000000" + address + "02 01 525400123456"
    )  # fmt: skip


def test_tagged() -> None:
    assert tagged(rarp(MAC), 42) == rarp(MAC)[:12] + bytes.fromhex("8100 002a") + rarp(MAC)[12:]


@pytest.mark.root
def test_a_kernel_tells_its_memberships_when_it_is_asked(lan: Lan) -> None:
    """The machine behind `far` stands for a guest."""
    Path("/proc/sys/net/ipv6/conf/far/disable_ipv6").write_text("0")
    ip("address add 10.90.0.1/24 dev far")
    ip("address add fe80::1/64 dev far nodad")
    ear, far = lan.at("uplink"), socket.if_nametoindex("far")
    with (
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as four,
        socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as six,
    ):
        joined = socket.inet_aton("239.1.2.3") + bytes(4) + struct.pack("=i", far)
        four.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, joined)
        joined = socket.inet_pton(socket.AF_INET6, "ff02::4242") + struct.pack("=i", far)
        six.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_JOIN_GROUP, joined)
        ear.says(igmp_query())
        until(lambda: is_told(ear, "ef010203"), "the group of IPv4 is told")
        ear.says(mld_query())
        until(lambda: is_told(ear, "ff02" + "0" * 24 + "4242"), "the group of IPv6 is told")


def is_told(ear: Ear, group: str) -> bool:
    """As the answer to a query, not as somebody who has just joined (RFC 3376, 4.2.12)."""
    return any(bytes.fromhex("02000000" + group) in each for each in ear.listen())


@pytest.mark.root
def test_a_kernel_learns_from_gratuitous_arp(lan: Lan) -> None:
    ip("address add 10.90.0.1/24 dev far")
    ip("neigh add 10.90.0.100 lladdr 02:00:00:00:00:01 nud stale dev far")
    lan.at("uplink").says(gratuitous_arp(MAC, IPv4Address("10.90.0.100")))
    until(lambda: MAC in ip("neigh show 10.90.0.100 dev far"), "the kernel has learned the new MAC")


@pytest.mark.root
def test_a_kernel_learns_from_unsolicited_na(lan: Lan) -> None:
    Path("/proc/sys/net/ipv6/conf/far/disable_ipv6").write_text("0")
    ip("address add fe80::1/64 dev far nodad")
    ip("neigh add fe80::64 lladdr 02:00:00:00:00:01 nud stale dev far")
    lan.at("uplink").says(unsolicited_na(MAC, IPv6Address("fe80::64")))
    until(lambda: MAC in ip("neigh show fe80::64 dev far"), "the kernel has learned the new MAC")

"""Announcements byte by byte, and a kernel that believes them."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address
from pathlib import Path

import pytest

from godwit.network.frames import gratuitous_arp, rarp, unsolicited_na

from .conftest import Lan, ip, until

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

"""Multicast groups: what one bridge knows of a port is told to another; they go along with a VM."""

from __future__ import annotations

import asyncio
from ipaddress import ip_address

import pytest

from godwit.network import groups
from godwit.network.groups import Group
from godwit.network.port import plug, unmute

from .conftest import Lan, ip

VM = "52:54:00:00:00:01"

RECORDED = bytes.fromhex(
    "0000000002000000340101003c000100380001000400000000000000ef010204000000000000000000000000080000000800010049650000"
    "080004000a000001050005000400000034000100300001000400000000000000ff05000000000000000000000000000786dd000008000100"
    "48650000050005000400000034000100300001000400000000000000ef010203000000000000000000000000080000000800010048650000"
    "050005000400000034000100300001000400000000000000ff0200000000000000000001ff4fcea086dd0000080001008765000005000500"
    "020000002c000100280001000200000000000000ff02000000000000000000000000006a86dd0000080001004e6500002c00010028000100"
    "0200000000000000ff0200000000000000000001ff8b7cb886dd0000080001004e650000"
)
"""Of Linux 6.18: port 4 is in 239.1.2.4 (from 10.0.0.1 only), ff05::7, 239.1.2.3 and one more, the bridge in two."""


def group(address: str) -> Group:
    return Group(ip_address(address))


def test_groups_are_told_with_their_ports_and_those_of_one_sender_only_are_not() -> None:
    assert [(port, str(each.address)) for port, each in groups.entries([RECORDED])] == [
        (4, "ff05::7"),
        (4, "239.1.2.3"),
        (4, "ff02::1:ff4f:cea0"),
        (2, "ff02::6a"),
        (2, "ff02::1:ff8b:7cb8"),
    ]


@pytest.mark.root
def test_a_port_that_was_muted_is_in_the_groups_once_it_is_open(lan: Lan) -> None:
    told = (group("239.1.2.3"), group("ff05::7"))
    tap, _ = lan.tap("gw-new")
    ip("link set lan type bridge mcast_snooping 1")
    asyncio.run(plug(tap.name, "lan", muted=True))
    join = asyncio.run(groups.prepare_joining(tap.name, told))

    asyncio.run(unmute(tap.name, VM))
    join()
    join()
    join.close()

    assert set(told) <= set(asyncio.run(groups.of_port(tap.name)))
    assert " temp" in ip("bridge mdb show dev lan")

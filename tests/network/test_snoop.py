"""By which addresses a VM behind a real tap speaks, tagged or not."""

from __future__ import annotations

import asyncio
from ipaddress import IPv4Address, IPv6Address

import pytest

from godwit.network.frames import gratuitous_arp, rarp, tagged, unsolicited_na
from godwit.network.port import plug
from godwit.network.snoop import Snoop, address_in

from .conftest import Ear, Lan, frame, until

VM, OTHER = "52:54:00:12:34:56", "52:54:00:00:00:02"
FOUR, SIX = IPv4Address("10.90.0.7"), IPv6Address("fd90::7")


def test_addresses_in_frames() -> None:
    assert address_in(gratuitous_arp(VM, FOUR)) == FOUR
    assert address_in(unsolicited_na(VM, SIX)) == SIX
    for other in (rarp(VM), frame(VM, OTHER, "x"), gratuitous_arp(VM, IPv4Address(0)), gratuitous_arp(VM, FOUR)[:30]):
        assert address_in(other) is None


@pytest.mark.root
def test_each_is_remembered_once_with_its_vlan(lan: Lan) -> None:
    tap, vm = lan.tap("gw-vm")
    asyncio.run(plug(tap.name, "lan", muted=False))
    snoop = Snoop("gw-vm", VM)
    lan.stack.callback(snoop.close)

    spoken = [gratuitous_arp(VM, FOUR), gratuitous_arp(OTHER, IPv4Address("10.90.0.8")), gratuitous_arp(VM, FOUR)]
    spoken += [tagged(unsolicited_na(VM, SIX), 42), tagged(gratuitous_arp(VM, FOUR), 7)]
    say(vm, spoken)

    until(lambda: len(snoop.heard()) >= 3, "all are heard")
    assert snoop.heard() == [(None, FOUR), (42, SIX), (7, FOUR)]


def say(vm: Ear, frames: list[bytes]) -> None:
    for each in frames:
        vm.says(each)

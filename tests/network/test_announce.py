"""Announcements reach everybody but the VM itself, and switches learn from them."""

from __future__ import annotations

import asyncio
from ipaddress import IPv4Address

import pytest

from godwit.core.errors import NotFound
from godwit.network.announce import send
from godwit.network.frames import gratuitous_arp, rarp
from godwit.network.port import plug, unplug

from .conftest import Lan, forwards, ip, until

pytestmark = pytest.mark.root

MAC = "52:54:00:12:34:56"
FRAMES = (rarp(MAC), gratuitous_arp(MAC, IPv4Address("10.90.0.100")))


def test_everybody_hears_it_in_order_but_the_vm_and_muted_ports(lan: Lan) -> None:
    ears = {name: lan.tap(name)[1] for name in ("gw-vm", "gw-other", "gw-muted")}
    for name in ears:
        asyncio.run(plug(name, "lan", muted=name == "gw-muted"))
    assert sorted(asyncio.run(send("gw-vm", FRAMES))) == ["gw-other", "uplink"]
    for ear in (lan.far, ears["gw-other"]):
        ear.hears(FRAMES[1])
        assert [each for each in ear.listen() if each in FRAMES] == list(FRAMES)
    assert (ears["gw-vm"].listen(), ears["gw-muted"].listen()) == ([], [])


def test_a_switch_learns_the_new_place(lan: Lan) -> None:
    ip("link add switch type bridge")
    ip("link add old-place type veth peer name old-end")
    for port in ("far", "old-place"):
        ip(f"link set {port} master switch")
    for interface in ("switch", "old-end", "old-place"):
        ip(f"link set {interface} up")
    forwards("old-place")
    forwards("far")
    ip(f"bridge fdb add {MAC} dev old-place master dynamic")
    lan.tap("gw-vm")
    asyncio.run(plug("gw-vm", "lan", muted=False))
    asyncio.run(send("gw-vm", [rarp(MAC)]))
    until(lambda: f"{MAC} dev far" in ip("bridge fdb show br switch"), "the switch has learned")


def test_nobody_to_tell_is_no_error(lan: Lan) -> None:
    lan.tap("gw-vm")
    assert asyncio.run(send("gw-vm", FRAMES)) == ()
    asyncio.run(plug("gw-vm", "lan", muted=False))
    ip("link set uplink nomaster")
    assert asyncio.run(send("gw-vm", FRAMES)) == ()
    asyncio.run(unplug("gw-vm"))
    with pytest.raises(NotFound):
        asyncio.run(send("gw-none", FRAMES))

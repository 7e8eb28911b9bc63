"""A guest that answers ARP is alive, and nobody outside its host hears the question or the answer."""

from __future__ import annotations

import asyncio
from ipaddress import IPv4Address

import pytest

from godwit.network import pulse
from godwit.network.port import plug

from .conftest import Ear, Lan, ip

pytestmark = pytest.mark.root

MAC = bytes.fromhex("525400123456")
HERE, SILENT = IPv4Address("10.90.0.100"), IPv4Address("10.90.0.101")


def is_arp(frame: bytes) -> bool:
    return frame[12:14] == b"\x08\x06"


def reply(question: bytes) -> bytes:
    """What a guest that has HERE says."""
    asker = question[22:28]
    words = bytes.fromhex("08060001080006040002") + MAC + HERE.packed + asker + bytes(4)
    return (asker + MAC + words).ljust(60, b"\0")


def ask(lan: Lan, vm: Ear, *addresses: IPv4Address) -> dict[IPv4Address, float]:
    def guest() -> None:
        while True:
            for question in [each for each in vm.listen() if is_arp(each) and each[38:42] == HERE.packed]:
                vm.says(reply(question))
                return

    async def story() -> dict[IPv4Address, float]:
        answering = asyncio.create_task(asyncio.to_thread(guest)) if HERE in addresses else None
        heard = await pulse.answers("gw-vm", "lan", addresses)
        if answering:
            await answering
        return heard

    return asyncio.run(story())


def test_an_answer_is_heard_and_stays_in_the_host(lan: Lan, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pulse, "LONGEST_S", 0.3)
    _, vm = lan.tap("gw-vm")
    asyncio.run(plug("gw-vm", "lan", muted=False))
    ip("link set lan up")

    heard = ask(lan, vm, HERE, SILENT)
    assert heard.keys() == {HERE}
    assert heard[HERE] >= 0
    assert [each for each in lan.far.listen() if is_arp(each)] == []


def test_a_guest_that_says_nothing_is_not_heard(lan: Lan, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pulse, "LONGEST_S", 0.1)
    _, vm = lan.tap("gw-vm")
    asyncio.run(plug("gw-vm", "lan", muted=False))

    assert ask(lan, vm, SILENT) == {}

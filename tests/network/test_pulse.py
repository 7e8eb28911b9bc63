"""A guest that answers ARP is alive, and nobody outside its host hears the question or the answer."""

from __future__ import annotations

import asyncio
from ipaddress import IPv4Address

import pytest

from godwit.network import pulse
from godwit.network.port import plug

from .conftest import DEADLINE_S, Ear, Lan, ip, until

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


def questions(vm: Ear, address: IPv4Address) -> list[bytes]:
    """So far, for that address."""
    return [each for each in vm.listen() if is_arp(each) and each[38:42] == address.packed]


def test_an_answer_is_heard_and_stays_in_the_host(lan: Lan, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pulse, "LONGEST_S", DEADLINE_S)
    monkeypatch.setattr(pulse, "EVERY_S", 0.01)
    _, vm = lan.tap("gw-vm")
    asyncio.run(plug("gw-vm", "lan", muted=False))
    ip("link set lan up")

    def guest() -> None:
        until(lambda: bool(questions(vm, HERE)), "it is asked")
        vm.says(reply(questions(vm, HERE)[0]))
        until(lambda: len(questions(vm, SILENT)) > len(questions(vm, HERE)) + 1, "only the silent one is asked again")
        monkeypatch.setattr(pulse, "LONGEST_S", 0.0)

    async def story() -> dict[IPv4Address, float]:
        heard, _ = await asyncio.gather(pulse.answers("gw-vm", "lan", (HERE, SILENT)), asyncio.to_thread(guest))
        return heard

    heard = asyncio.run(story())
    assert heard.keys() == {HERE}
    assert heard[HERE] >= 0
    assert [each for each in lan.far.listen() if is_arp(each)] == []


def test_a_guest_that_says_nothing_is_not_heard(lan: Lan, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pulse, "LONGEST_S", 0.1)
    lan.tap("gw-vm")
    asyncio.run(plug("gw-vm", "lan", muted=False))

    assert asyncio.run(pulse.answers("gw-vm", "lan", (SILENT,))) == {}

"""Ports that are down, or go: who listens there or speaks there is not disturbed, and the other ports count."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from ipaddress import IPv4Address
from typing import Any

import pytest

from godwit.network import probing, pulse, segment
from godwit.network.linux_bridge import LinuxBridge
from godwit.network.ring import Capture
from godwit.network.segment import Exchange
from godwit.network.snoop import Snoop
from godwit.network.switch import Uplink
from godwit.network.witness import Sighting, Witness

from .conftest import DEADLINE_S, Lan, ip, until

pytestmark = pytest.mark.root

VM = "52:54:00:12:34:56"
BROADCAST = "ff:ff:ff:ff:ff:ff"


@pytest.fixture
def torn(lan: Lan) -> Lan:
    """The bridge has a second port, `torn`, which is down."""
    ip("link add torn type veth peer name torn-end")
    ip("link set torn master lan")
    return lan


@pytest.fixture
def complaints() -> Iterator[list[dict[str, Any]]]:
    """What a loop's callbacks raised."""
    told: list[dict[str, Any]] = []
    yield told
    assert told == []


async def watched(complaints: list[dict[str, Any]]) -> None:
    """Of this loop's."""
    asyncio.get_running_loop().set_exception_handler(lambda _, context: complaints.append(context))


def test_a_probe_leaves_by_the_others(torn: Lan) -> None:
    asyncio.run(probing.send(VM, "lan", [Uplink("torn"), Uplink("gone"), Uplink("uplink")]))

    until(lambda: any(each.startswith(bytes.fromhex(VM.replace(":", ""))) for each in torn.far.listen()), "a probe")


def test_a_witness_sees_what_comes_in_by_the_others(torn: Lan, complaints: list[dict[str, Any]]) -> None:
    async def story() -> str:
        await watched(complaints)
        seen: asyncio.Queue[Sighting] = asyncio.Queue()
        witness = Witness(VM, [Uplink("torn"), Uplink("uplink")], seen.put_nowait)
        torn.far.says(probing.frame(BROADCAST, VM))
        async with asyncio.timeout(DEADLINE_S):
            port = (await seen.get()).port
        witness.close()
        return port

    assert asyncio.run(story()) == "uplink"


def test_segments_are_compared_by_the_others(
    torn: Lan, complaints: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(segment, "LONGEST_S", 0.1)

    async def story() -> tuple[str, ...]:
        await watched(complaints)
        return (await Exchange(LinuxBridge("lan"), "host-a", "host-b", bytes(8)).run("lan")).uplinks

    assert sorted(asyncio.run(story())) == ["torn", "uplink"]


def test_a_guest_behind_a_tap_that_is_down_does_not_answer(
    lan: Lan, complaints: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pulse, "LONGEST_S", 0.1)
    lan.tap("gw-vm")

    async def story() -> dict[IPv4Address, float]:
        await watched(complaints)
        return await pulse.answers("gw-vm", "lan", [IPv4Address("10.90.0.100")])

    assert asyncio.run(story()) == {}


def test_a_snoop_and_a_capture_go_on_when_their_tap_is_up_again(lan: Lan) -> None:
    _, vm = lan.tap("gw-vm")
    snoop, capture = Snoop("gw-vm", VM), Capture("gw-vm")
    assert snoop.heard() == []
    capture.read()
    ip("link set gw-vm up")

    vm.says(probing.frame(BROADCAST, VM))

    until(lambda: _said(capture), "the capture hears")
    assert snoop.heard() == []
    for each in (snoop, capture):
        each.close()


def _said(capture: Capture) -> bool:
    capture.read()
    return bool(capture.said)

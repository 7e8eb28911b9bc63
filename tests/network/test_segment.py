"""Probe frames tell whether two bridges are on one segment, how long its frames may be, and who has an address."""

from __future__ import annotations

import asyncio
import subprocess
from collections.abc import Callable
from ipaddress import IPv4Address

import pytest

from godwit.core.looked import Claim, Heard, SegmentLook
from godwit.network import segment
from godwit.network.linux_bridge import LinuxBridge
from godwit.network.segment import Exchange

from .conftest import DEADLINE_S, Ear, Lan, forwards, ip, silence

pytestmark = pytest.mark.root

TOKEN = bytes(8)
IP = IPv4Address("10.90.0.100")
THIEF = bytes.fromhex("0200000000ff")
CLAIM = bytes.fromhex("02000000000a") + THIEF + bytes.fromhex("08060001080006040002") + THIEF + IP.packed + bytes(18)


@pytest.fixture
def two(lan: Lan, monkeypatch: pytest.MonkeyPatch) -> Lan:
    """The cable ends in another bridge, `lan2`; what is to be heard is waited for."""
    monkeypatch.setattr(segment, "LONGEST_S", DEADLINE_S)
    ip("link add lan2 type bridge mcast_snooping 0")
    silence("lan2")
    ip("link set lan2 up")
    ip("link set far master lan2")
    forwards("far")
    return lan


def exchange(*, other: str = "host-b", enough: bool = False) -> tuple[SegmentLook, SegmentLook]:
    """As both hosts do, at one moment; where it is `enough` that each has heard the other, no longer than that."""

    async def both() -> tuple[SegmentLook, SegmentLook]:
        here = Exchange(LinuxBridge("lan"), "host-a", other, TOKEN, (IP,))
        there = Exchange(LinuxBridge("lan2"), "host-b", "host-a", TOKEN)
        looking = asyncio.gather(here.run("lan"), there.run("lan"))
        if enough:
            await become(lambda: here.heard is not None and there.heard is not None)
            leave(here)
            leave(there)
        return await looking

    return asyncio.run(both())


async def become(condition: Callable[[], bool]) -> None:
    """It is true; a wire has no event."""
    async with asyncio.timeout(DEADLINE_S):
        while not condition():  # noqa: ASYNC110
            await asyncio.sleep(0)


def leave(exchange: Exchange) -> None:
    """It ends, as if it knew all."""
    exchange._is_heard = exchange._is_full = True


def test_both_hear_the_longest_frame(two: Lan) -> None:
    here, there = exchange()

    assert here == SegmentLook(
        network="lan", bridge="lan", mtu=1500, uplinks=("uplink",), heard=(Heard(host="host-b", bytes=1514),)
    )
    assert (there.uplinks, there.heard) == (("far",), (Heard(host="host-a", bytes=1514),))


def test_a_pulled_cable_is_silent(two: Lan, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(segment, "LONGEST_S", 0.1)
    ip("link set far down")

    assert [each.heard for each in exchange()] == [(), ()]


def test_a_smaller_mtu_is_seen(two: Lan) -> None:
    ip("link set far mtu 1400")
    ip("link set lan2 mtu 1500")

    here, there = exchange(enough=True)
    assert (here.heard, there.heard) == ((Heard(host="host-b", bytes=60),), (Heard(host="host-a", bytes=60),))


@pytest.fixture
def teamed(two: Lan) -> Lan:
    """A second cable to `lan2`, by which UDP to even ports that 4 does not divide leaves; `lan2` knows of no team."""
    ip("link add uplink2 type veth peer name far2")
    for interface in ("uplink2", "far2"):
        silence(interface)
        ip(f"link set {interface} up")
    ip("link set far2 master lan2")
    forwards("far2")
    some = "protocol ip u32 match ip dport 0x0002 0x0002"
    for words in (
        "qdisc add dev uplink clsact",
        f"filter add dev uplink egress {some} action mirred egress redirect dev uplink2",
    ):
        subprocess.run(["tc", *words.split()], check=True)
    return two


def test_what_leaves_by_one_cable_and_comes_back_by_another_is_seen(teamed: Lan) -> None:
    here, there = exchange()

    assert (here.returned, there.returned) == (("uplink",), ())
    assert [[each.bytes for each in look.heard] for look in (here, there)] == [[1514], [1514]]


def test_another_host_is_not_taken_for_the_one_asked_for(two: Lan, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(segment, "LONGEST_S", 0.1)

    assert exchange(other="host-c")[0].heard == ()


def test_a_bridge_without_uplinks_has_nobody_to_ask(lan: Lan) -> None:
    ip("link set uplink nomaster")

    look = asyncio.run(Exchange(LinuxBridge("lan"), "host-a", "host-b", TOKEN).run("lan"))
    assert (look.uplinks, look.heard) == ((), ())


def speak(lan: Lan, frame: bytes, monkeypatch: pytest.MonkeyPatch) -> SegmentLook:
    """What is found when somebody at the far end of the cable says this, and then that the VM's address is its own."""
    monkeypatch.setattr(segment, "LONGEST_S", DEADLINE_S)

    async def story() -> SegmentLook:
        exchange = Exchange(LinuxBridge("lan"), "host-a", "host-b", TOKEN, (IP,))
        lan.far.listen().clear()
        looking = asyncio.create_task(exchange.run("lan"))
        await become(lambda: any(heard[12:14] == b"\x88\xb5" for heard in lan.far.listen()))
        lan.far.says(frame)
        lan.far.says(CLAIM)
        await become(lambda: bool(exchange.claims))
        leave(exchange)
        return await looking

    return asyncio.run(story())


def test_a_tag_is_told(lan: Lan, monkeypatch: pytest.MonkeyPatch) -> None:
    other = Exchange(LinuxBridge("lan2"), "host-b", "host-a", TOKEN)
    plain = other._frames(bytes.fromhex("020000000b0b"))[0]

    look = speak(lan, plain[:12] + b"\x81\x00\x00\x78" + plain[12:], monkeypatch)
    assert [(each.host, each.vlan) for each in look.heard] == [("host-b", 120)]


def test_who_answers_for_the_vms_address_is_named(lan: Lan, monkeypatch: pytest.MonkeyPatch) -> None:
    look = speak(lan, CLAIM, monkeypatch)
    assert look.claims == (Claim(ip=str(IP), mac="02:00:00:00:00:ff"),)


def test_garbage_is_not_heard(lan: Lan, monkeypatch: pytest.MonkeyPatch) -> None:
    head = b"\xff" * 6 + bytes.fromhex("0200000000ff") + b"\x88\xb5"
    for garbage in (head, head + b"godwit1" + bytes(60), head + b"\xff" * 1000):
        assert speak(lan, garbage, monkeypatch).heard == ()
    assert isinstance(lan.far, Ear)

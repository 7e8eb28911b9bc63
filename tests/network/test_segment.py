"""Probe frames tell whether two bridges are on one segment, how long its frames may be, and who has an address."""

from __future__ import annotations

import asyncio
import subprocess
from ipaddress import IPv4Address

import pytest

from godwit.core.looked import Claim, Heard, SegmentLook
from godwit.network import segment
from godwit.network.linux_bridge import LinuxBridge
from godwit.network.segment import Exchange

from .conftest import Ear, Lan, forwards, ip, silence

pytestmark = pytest.mark.root

TOKEN = bytes(8)
IP = IPv4Address("10.90.0.100")


@pytest.fixture
def two(lan: Lan) -> Lan:
    """The cable ends in another bridge, `lan2`."""
    ip("link add lan2 type bridge mcast_snooping 0")
    silence("lan2")
    ip("link set lan2 up")
    ip("link set far master lan2")
    forwards("far")
    return lan


def exchange(*, other: str = "host-b") -> tuple[SegmentLook, SegmentLook]:
    """As both hosts do, at one moment."""

    async def both() -> tuple[SegmentLook, SegmentLook]:
        here = Exchange(LinuxBridge("lan"), "host-a", other, TOKEN, (IP,))
        there = Exchange(LinuxBridge("lan2"), "host-b", "host-a", TOKEN)
        return await asyncio.gather(here.run("lan"), there.run("lan"))

    return asyncio.run(both())


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


def test_a_smaller_mtu_is_seen(two: Lan, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(segment, "LONGEST_S", 0.1)
    ip("link set far mtu 1400")
    ip("link set lan2 mtu 1500")

    here, there = exchange()
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
    """What is found while somebody at the far end of the cable says this."""
    monkeypatch.setattr(segment, "LONGEST_S", 0.2)

    async def story() -> SegmentLook:
        looking = asyncio.create_task(Exchange(LinuxBridge("lan"), "host-a", "host-b", TOKEN, (IP,)).run("lan"))
        while not any(heard[12:14] == b"\x88\xb5" for heard in lan.far.listen()):  # noqa: ASYNC110 (a wire has no event)
            await asyncio.sleep(0)
        lan.far.says(frame)
        return await looking

    return asyncio.run(story())


def test_a_tag_is_told(lan: Lan, monkeypatch: pytest.MonkeyPatch) -> None:
    other = Exchange(LinuxBridge("lan2"), "host-b", "host-a", TOKEN)
    plain = other._frames(bytes.fromhex("020000000b0b"))[0]

    look = speak(lan, plain[:12] + b"\x81\x00\x00\x78" + plain[12:], monkeypatch)
    assert [(each.host, each.vlan) for each in look.heard] == [("host-b", 120)]


def test_who_answers_for_the_vms_address_is_named(lan: Lan, monkeypatch: pytest.MonkeyPatch) -> None:
    thief = bytes.fromhex("0200000000ff")
    answer = bytes.fromhex("02000000000a") + thief + bytes.fromhex("08060001080006040002") + thief + IP.packed

    look = speak(lan, (answer + bytes(6) + bytes(4)).ljust(60, b"\0"), monkeypatch)
    assert look.claims == (Claim(ip=str(IP), mac="02:00:00:00:00:ff"),)


def test_garbage_is_not_heard(lan: Lan, monkeypatch: pytest.MonkeyPatch) -> None:
    head = b"\xff" * 6 + bytes.fromhex("0200000000ff") + b"\x88\xb5"
    for garbage in (head, head + b"godwit1" + bytes(60), head + b"\xff" * 1000):
        assert speak(lan, garbage, monkeypatch).heard == ()
    assert isinstance(lan.far, Ear)

"""Ports of a real bridge: what a muted one hears, what an unmuted one does, and where the bridge sends frames."""

from __future__ import annotations

import asyncio
import socket

import pytest

from godwit.core.errors import NotFound, Refused
from godwit.network.port import bridge_exists, forget, plug, prepare_unmute, unmute, unplug

from .conftest import Ear, Lan, frame, ip, until

pytestmark = pytest.mark.root

VM = "52:54:00:00:00:01"
FAR = "52:54:00:00:00:fa"
BROADCAST = "ff:ff:ff:ff:ff:ff"
EVERYBODY = (BROADCAST, "01:00:5e:00:00:fb", "33:33:00:00:00:01", "52:54:00:00:00:99")
"""Receivers that a bridge floods to: broadcast, multicast of both kinds, and a MAC that it does not know."""


def plugged(lan: Lan, name: str, *, muted: bool = False) -> Ear:
    tap, ear = lan.tap(name)
    asyncio.run(plug(tap.name, "lan", muted=muted))
    return ear


def flood(lan: Lan, witness: Ear) -> list[bytes]:
    """Frames from outside and from the host itself have been flooded: the witness has heard one that came after."""
    sent = [frame(FAR, receiver, "from afar") for receiver in EVERYBODY]
    host = lan.at("lan")
    for each in sent:
        lan.far.says(each)
        host.says(each[:20] + b"host" + each[24:])
    for end in ("first", "last"):
        lan.far.says(frame(FAR, BROADCAST, end))
        witness.hears(frame(FAR, BROADCAST, end))
    return sent


def entries(mac: str) -> list[str]:
    return [line for line in ip("bridge fdb show br lan").splitlines() if line.startswith(mac)]


def test_a_muted_port_hears_nothing(lan: Lan) -> None:
    muted, witness = plugged(lan, "gw-muted", muted=True), plugged(lan, "gw-witness")
    sent = flood(lan, witness)
    assert [each for each in sent if each not in witness.listen()] == []
    assert any(b"host" in each for each in witness.heard)
    assert muted.listen() == []


def test_a_muted_port_stays_muted_when_others_come_and_go(lan: Lan) -> None:
    muted, witness = plugged(lan, "gw-muted", muted=True), plugged(lan, "gw-witness")
    plugged(lan, "gw-new")
    ip("link set gw-new down")
    ip("link set gw-new up")
    asyncio.run(unplug("gw-new"))
    flood(lan, witness)
    assert muted.listen() == []


def test_a_muted_port_says_nothing(lan: Lan) -> None:
    muted, witness = plugged(lan, "gw-muted", muted=True), plugged(lan, "gw-witness")
    muted.says(frame(VM, BROADCAST, "too early"))
    witness.says(frame("52:54:00:00:00:02", BROADCAST, "rightly"))
    lan.far.hears(frame("52:54:00:00:00:02", BROADCAST, "rightly"))
    assert frame(VM, BROADCAST, "too early") not in lan.far.listen()
    assert entries(VM) == []


def test_an_unmuted_port_hears_all_and_says_all(lan: Lan) -> None:
    port, witness = plugged(lan, "gw-vm", muted=True), plugged(lan, "gw-witness")
    asyncio.run(unmute("gw-vm", VM))
    for each in flood(lan, witness):
        port.hears(each)
    port.says(frame(VM, FAR, "hello"))
    lan.far.hears(frame(VM, FAR, "hello"))


@pytest.mark.parametrize("leftover", ["", "dynamic", "static", "sticky static", "sticky dynamic", "local"])
def test_the_mac_moves_to_the_unmuted_port(lan: Lan, leftover: str) -> None:
    port, witness = plugged(lan, "gw-vm", muted=True), plugged(lan, "gw-witness")
    if leftover:
        ip(f"bridge fdb add {VM} dev gw-witness master {leftover}")
    asyncio.run(unmute("gw-vm", VM))
    assert [line.split() for line in entries(VM)] == [[VM, "dev", "gw-vm", "master", "lan"]]
    lan.far.says(frame(FAR, VM, "for the vm"))
    port.hears(frame(FAR, VM, "for the vm"))
    flood(lan, witness)
    assert frame(FAR, VM, "for the vm") not in witness.listen()


def test_the_mac_moves_on_when_it_is_heard_elsewhere(lan: Lan) -> None:
    plugged(lan, "gw-vm", muted=True)
    asyncio.run(unmute("gw-vm", VM))
    lan.far.says(frame(VM, BROADCAST, "I moved"))
    until(lambda: "uplink" in entries(VM)[0], "learned from the uplink")


def test_unmuting_is_prepared_in_advance_and_harmless_twice(lan: Lan) -> None:
    port, witness = plugged(lan, "gw-vm", muted=True), plugged(lan, "gw-witness")
    with asyncio.run(prepare_unmute("gw-vm", VM)) as prepared:
        flood(lan, witness)
        assert port.listen() == []
        assert entries(VM) == []
        prepared()
        prepared()
    assert len(entries(VM)) == 1
    port.hears(flood(lan, witness)[0])


def test_the_host_has_nothing_to_say_through_the_tap(lan: Lan) -> None:
    """An interface with IPv6 of its own proves that there was time enough to say it."""
    if not socket.has_ipv6:
        pytest.skip("no IPv6 here")
    quiet = plugged(lan, "gw-quiet")
    _, talker = lan.tap("talker")
    ip("link set talker up")
    until(lambda: any(each[12:14] == b"\x86\xdd" for each in talker.listen()), "neighbour discovery on the other tap")
    assert quiet.listen() == []
    assert "inet6" not in ip("address show gw-quiet")


def test_mtu_of_the_bridge_and_a_long_queue(lan: Lan) -> None:
    ip("link set uplink mtu 1400")
    ip("link set lan mtu 1400")
    plugged(lan, "gw-vm")
    link = ip("link show gw-vm")
    assert "mtu 1400" in link
    assert "qlen 10000" in link
    assert "mtu 1400" in ip("link show lan")


def test_plugged_twice_is_plugged_once(lan: Lan) -> None:
    port, witness = plugged(lan, "gw-vm", muted=True), plugged(lan, "gw-witness")
    asyncio.run(plug("gw-vm", "lan", muted=True))
    flood(lan, witness)
    assert port.listen() == []


def test_a_bridge_whose_ports_wait_for_stp_takes_no_migration(lan: Lan) -> None:
    ip("link set lan type bridge stp_state 1")
    tap, _ = lan.tap("gw-vm")
    with pytest.raises(Refused, match="ip link set lan type bridge stp_state 0"):
        asyncio.run(plug(tap.name, "lan", muted=True))
    assert "master" not in ip("link show gw-vm")
    asyncio.run(plug(tap.name, "lan", muted=False))
    assert "master lan" in ip("link show gw-vm")


def test_the_bridge_keeps_its_own_mac(lan: Lan) -> None:
    """A bridge takes the lowest MAC of its ports, and hosts that know the other one lose it."""
    before = ip("-brief link show lan").split()[2]
    plugged(lan, "gw-vm")
    assert ip("-brief link show lan").split()[2] == before
    assert ip("-brief link show gw-vm").split()[2].startswith("fe:")


def test_unplugged_means_down_and_out_even_twice(lan: Lan) -> None:
    plugged(lan, "gw-vm")
    for name in ("gw-vm", "gw-vm", "gw-never-was"):
        asyncio.run(unplug(name))
    assert "master" not in ip("link show gw-vm")
    assert ",UP" not in ip("link show gw-vm")


@pytest.mark.parametrize(
    ("kind", "left"), [("dynamic", 1), ("static", 0), ("sticky static", 0), ("sticky dynamic", 0), ("local", 0)]
)  # fmt: skip
def test_forgetting_leaves_only_what_was_learned(lan: Lan, kind: str, left: int) -> None:
    ip("link add other type bridge")
    ip("link add stray type veth peer name stray-end")
    ip("link set stray master other")
    ip(f"bridge fdb add {VM} dev stray master static")
    ip(f"bridge fdb add {VM} dev uplink master {kind}")
    ip(f"bridge fdb add {FAR} dev uplink master static")
    for _ in range(2):
        asyncio.run(forget("lan", VM))
        assert (len(entries(VM)), len(entries(FAR))) == (left, 1)
    assert "stray" in ip("bridge fdb show br other")


def test_what_is_a_bridge(lan: Lan) -> None:
    assert [asyncio.run(bridge_exists(name)) for name in ("lan", "uplink", "none")] == [True, False, False]


def test_errors_name_the_bridge_and_the_way_out(lan: Lan) -> None:
    lan.tap("gw-vm")
    with pytest.raises(NotFound, match="no bridge none here: `ip link add none type bridge`"):
        asyncio.run(plug("gw-vm", "none", muted=True))
    with pytest.raises(NotFound, match="uplink is no bridge"):
        asyncio.run(plug("gw-vm", "uplink", muted=True))
    with pytest.raises(NotFound, match="no network interface gw-none"):
        asyncio.run(plug("gw-none", "lan", muted=True))
    with pytest.raises(Refused, match="plug it first"):
        asyncio.run(unmute("gw-vm", VM))

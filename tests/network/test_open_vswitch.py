"""Open vSwitch as a network's switch: what a port hears, what the bridge learns, and what is left."""

from __future__ import annotations

import asyncio
import os
import socket
from contextlib import AbstractContextManager, suppress
from ipaddress import ip_address

import pytest

from godwit.core.errors import NotFound, Refused
from godwit.network import probing, segment, switches
from godwit.network.frames import rarp, tagged
from godwit.network.groups import Group
from godwit.network.linux_bridge import LinuxBridge
from godwit.network.open_vswitch import OpenVSwitch
from godwit.network.packet import ANCILLARY_BYTES, tell_tags, vlan_of
from godwit.network.patch_cable import Cable
from godwit.network.segment import Exchange
from godwit.network.switch import Habits, Uplink
from godwit.network.tap import open_tap, take_large

from .conftest import DEADLINE_S, Lan, Switched, forwards, frame, ip, ovs, until
from .test_segment import become, leave

pytestmark = pytest.mark.root

VM, NEIGHBOUR, FAR = "52:54:00:00:00:01", "52:54:00:00:00:02", "52:54:00:00:00:fa"
BROADCAST = "ff:ff:ff:ff:ff:ff"
VLAN = 10


@pytest.fixture
def plain(ovs_lan: Lan) -> Switched:
    return Switched(ovs_lan, OpenVSwitch("lan"))


@pytest.fixture
def in_vlan(ovs_lan: Lan) -> Switched:
    """The uplink is a trunk."""
    return Switched(ovs_lan, OpenVSwitch("lan", VLAN))


def learned(mac: str) -> list[list[str]]:
    """Port, VLAN and age of each entry of that MAC."""
    rows = [line.split() for line in ovs("ovs-appctl fdb/show lan").splitlines()]
    return [[row[0], row[1], row[3]] for row in rows if row[2] == mac]


class Tags(AbstractContextManager["Tags"]):
    """Hears frames of the VM's, or to it, with their VLAN tags, which the kernel tells beside them."""

    def __init__(self, interface: str) -> None:
        self.heard: dict[bytes, int | None] = {}
        self._all = socket.socket(socket.AF_PACKET, socket.SOCK_RAW | socket.SOCK_NONBLOCK, 0)
        tell_tags(self._all)
        self._all.bind((interface, 0x0003))

    def of(self, frame: bytes) -> int | None:
        with suppress(BlockingIOError):
            while True:
                data, told, _, _ = self._all.recvmsg(65536, ANCILLARY_BYTES)
                if bytes.fromhex(VM.replace(":", "")) in data[:12]:
                    self.heard[data] = vlan_of(told)
        return self.heard.get(frame)

    def __exit__(self, *_: object) -> None:
        self._all.close()


def number(port: str) -> str:
    return ovs(f"ovs-vsctl get Interface {port} ofport").strip()


def test_a_muted_port_hears_nothing_and_says_nothing(plain: Switched) -> None:
    _, muted = plain.plug("gw-muted", muted=True)
    _, witness = plain.plug("gw-witness")
    for receiver in (BROADCAST, "01:00:5e:00:00:fb", "52:54:00:00:00:99", VM):
        plain.lan.far.says(frame(FAR, receiver, "from afar"))
        witness.hears(frame(FAR, receiver, "from afar"))
    muted.says(frame(VM, BROADCAST, "too early"))
    witness.says(frame(NEIGHBOUR, BROADCAST, "rightly"))
    plain.lan.far.hears(frame(NEIGHBOUR, BROADCAST, "rightly"))

    assert muted.listen() == []
    assert frame(VM, BROADCAST, "too early") not in plain.lan.far.listen()
    assert learned(VM) == []


def test_an_unmuted_port_is_where_the_bridge_sends_the_vms_frames_and_nobody_else_hears_of_it(plain: Switched) -> None:
    _, vm = plain.plug("gw-vm", muted=True)
    _, neighbour = plain.plug("gw-neighbour")
    plain.lan.far.says(frame(VM, BROADCAST, "still there"))
    neighbour.hears(frame(VM, BROADCAST, "still there"))
    unmute = asyncio.run(plain.switch.prepare_unmute("gw-vm", VM))

    unmute()
    until(lambda: [row[0] for row in learned(VM)] == [number("gx-vm")], "the bridge has learned")
    unmute.close()

    neighbour.says(frame(NEIGHBOUR, VM, "welcome"))
    vm.hears(frame(NEIGHBOUR, VM, "welcome"))
    plain.lan.far.says(frame(FAR, BROADCAST, "all"))
    vm.hears(frame(FAR, BROADCAST, "all"))
    vm.says(frame(VM, FAR, "hello"))
    plain.lan.far.hears(frame(VM, FAR, "hello"))
    assert not [each for each in plain.lan.far.heard if each[:6] == each[6:12]]


def test_what_the_guest_leaves_to_hardware_is_done_before_open_vswitch_reads_it(plain: Switched) -> None:
    """A checksum, here: it is made where the frame enters the cable."""
    tap, vm = plain.plug("gw-vm")
    take_large(tap)
    datagram = b"\x30\x39\x00\x09\x00\x10\x00\x00unmade!!"  # its checksum field is to be filled
    header = bytes.fromhex("450000240000000040115cc80a5a00640a5a0002")[:20]
    ends = bytes.fromhex(FAR.replace(":", "") + VM.replace(":", ""))
    whole = (ends + b"\x08\x00" + header + datagram).ljust(60, b"\0")
    needs_checksum = b"\x01\x00" + bytes(4) + b"\x22\x00\x06\x00"
    vm.header = needs_checksum
    vm.says(whole)

    plain.lan.far.listen()
    until(lambda: any(b"unmade!!" in each for each in plain.lan.far.listen()), "it came")
    arrived = next(each for each in plain.lan.far.heard if b"unmade!!" in each)
    assert arrived[40:42] != b"\0\0"


def test_the_vms_frames_are_tagged_as_the_bridge_tags_them(in_vlan: Switched) -> None:
    _, vm = in_vlan.plug("gw-vm")
    in_vlan.lan.far.says(tagged(frame(FAR, VM, "in"), VLAN))
    vm.hears(frame(FAR, VM, "in"))

    assert asyncio.run(in_vlan.switch.uplinks()) == [Uplink("uplink", VLAN)]
    with Tags("far") as tags:
        assert asyncio.run(in_vlan.switch.announce("gw-vm", [rarp(VM)])) == ("uplink",)
        until(lambda: tags.of(rarp(VM)) == VLAN, "a tagged announcement")
        assert learned(VM)[0][:2] == [number("gx-vm"), str(VLAN)]
        asyncio.run(probing.send(VM, "lan", [Uplink("uplink", VLAN)]))
        probe = probing.frame(VM, ip("-br link show lan").split()[2])
        until(lambda: tags.of(probe) == VLAN, "a tagged probe")


def test_probe_frames_pass_between_a_trunk_and_a_bridge_within_the_vlan_only(
    in_vlan: Switched, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The far end is in no VLAN: what it says without a tag is another network's."""
    monkeypatch.setattr(segment, "LONGEST_S", DEADLINE_S)
    ip("link add lan2 type bridge mcast_snooping 0")
    ip("link set lan2 up")
    ip("link set far master lan2")
    forwards("far")

    async def both(switch: OpenVSwitch) -> list[tuple[str, int | None]]:
        here = Exchange(switch, "host-a", "host-b", bytes(8))
        there = Exchange(LinuxBridge("lan2"), "host-b", "host-a", bytes(8))
        looking = asyncio.gather(here.run("lan"), there.run("lan"))
        await become(lambda: there.heard is not None and (switch.vlan is not None or here.heard is not None))
        for each in (here, there):
            leave(each)
        return [(heard.host, heard.vlan) for look in await looking for heard in look.heard]

    assert asyncio.run(both(OpenVSwitch("lan"))) == [("host-b", None), ("host-a", None)]
    assert asyncio.run(both(OpenVSwitch("lan", VLAN))) == [("host-a", VLAN)]


def test_what_a_relay_needs_outlives_the_tap_and_nothing_outlives_the_relay(plain: Switched) -> None:
    ip("link add gv-vm type veth peer name other")
    ip("link set gv-vm up")
    ip("link set other up")
    tap = open_tap("gw-vm")
    asyncio.run(plain.switch.plug("gw-vm", muted=False))
    asyncio.run(plain.switch.lead_out("gw-vm", VM))
    siding = plain.switch.siding("gw-vm")
    points = plain.switch.points("gw-vm", VM, siding.name)
    points.on()
    points.close()
    siding.close()
    os.close(tap.fd)  # as at QEMU's end

    assert asyncio.run(plain.switch.is_led_out("gw-vm", VM))
    asyncio.run(plain.switch.unplug("gw-vm"))
    beyond, far = plain.lan.at("other"), plain.lan.at("far")
    far.says(frame(VM, BROADCAST, "I am here now"))
    far.says(frame(FAR, VM, "relayed"))
    beyond.hears(frame(FAR, VM, "relayed"))

    asyncio.run(plain.switch.end_lead("gw-vm", VM, is_home=False))
    assert (learned(VM), ovs("ovs-vsctl list-ports lan").split()) == ([], ["uplink"])
    assert not {name for _, name in socket.if_nameindex() if name.startswith(("gx-", "gy-"))}


def test_at_home_again_the_bridge_learns_as_before(plain: Switched) -> None:
    _, vm = plain.plug("gw-vm")
    assert asyncio.run(plain.switch.lead_out("gw-vm", VM)) == ""
    assert [row[2] for row in learned(VM)] == ["static"]

    asyncio.run(plain.switch.end_lead("gw-vm", VM, is_home=True))
    until(lambda: [row[0] for row in learned(VM)] == [number("gx-vm")], "the bridge has learned")
    assert [row[2] for row in learned(VM)] != ["static"]
    plain.lan.far.says(frame(FAR, VM, "still here"))
    vm.hears(frame(FAR, VM, "still here"))


def test_a_port_goes_with_its_vm_and_what_a_crash_left_is_found(plain: Switched) -> None:
    plain.plug("gw-vm")
    plain.plug("gw-other")
    plain.plug("gw-dead")
    asyncio.run(plain.switch.unplug("gw-vm"))
    asyncio.run(plain.switch.unplug("gw-vm"))
    assert ovs("ovs-vsctl list-ports lan").split() == ["gx-dead", "gx-other", "uplink"]

    Cable("gw-dead").remove()  # with its host's last boot
    assert asyncio.run(switches.ports_of_nobody(["gw-other"])) == ["gx-dead"]
    ip("link del gw-dead")
    assert asyncio.run(switches.remove_dead_ports(())) == ["gx-dead"]
    assert ovs("ovs-vsctl list-ports lan").split() == ["gx-other", "uplink"]


def test_the_vms_groups_are_read_and_told(plain: Switched) -> None:
    ovs("ovs-vsctl set Bridge lan mcast_snooping_enable=true")
    plain.plug("gw-vm")
    told = {Group(ip_address("239.1.2.3")), Group(ip_address("ff05::7"))}
    join = asyncio.run(plain.switch.prepare_joining("gw-vm", VM, sorted(told, key=str)))

    join()
    until(lambda: set(asyncio.run(plain.switch.groups("gw-vm"))) == told, "the bridge knows them")
    join.close()


def test_stp_would_hold_a_vm_back(plain: Switched) -> None:
    ovs("ovs-vsctl set Bridge lan rstp_enable=true")
    plain.lan.tap("gw-vm")

    with pytest.raises(Refused, match="runs STP"):
        asyncio.run(plain.switch.plug("gw-vm", muted=True))
    asyncio.run(plain.switch.plug("gw-vm", muted=False))


def test_what_may_be_in_a_vms_way_is_told(plain: Switched) -> None:
    assert asyncio.run(plain.switch.habits()) == Habits()
    ovs("ovs-ofctl add-flow lan priority=1,arp,actions=drop")
    ovs("ovs-vsctl set Bridge lan stp_enable=true")
    assert asyncio.run(plain.switch.habits()) == Habits(has_stp=True, is_programmed=True)


def test_kinds_are_found_by_looking(ovs_lan: Lan) -> None:
    ip("link add lan2 type bridge")

    assert asyncio.run(switches.find("lan", VLAN)) == OpenVSwitch("lan", VLAN)
    assert asyncio.run(switches.find("lan2")) == LinuxBridge("lan2")
    with pytest.raises(Refused, match="puts no ports into a VLAN"):
        asyncio.run(switches.find("lan2", VLAN))
    with pytest.raises(NotFound, match="neither of Linux nor of Open vSwitch"):
        asyncio.run(switches.find("uplink"))

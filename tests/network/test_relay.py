"""The points of real switches, of each kind: what waits in the tap goes after the VM, in order, and no more comes."""

from __future__ import annotations

import asyncio
import os
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import closing

import pytest

from godwit.core.errors import Failed
from godwit.network.frames import tagged
from godwit.network.linux_bridge import LinuxBridge
from godwit.network.packet import ANCILLARY_BYTES, tell_tags, vlan_of
from godwit.network.port import open_again, plug, until_forwarding
from godwit.network.relay import Turnout
from godwit.network.ring import SACRIFICE, VNET_NOTHING, Frame, Injector, TapHandle, sacrifice
from godwit.network.switch import Kind

from .conftest import Ear, Lan, Switched, forwards, frame, ip, silence, until

pytestmark = pytest.mark.root

VM = "52:54:00:00:00:01"
FAR = "52:54:00:00:00:fa"
BROADCAST = "ff:ff:ff:ff:ff:ff"


class Points:
    """A VM's tap, and a cable in the place of its tunnel, at one switch."""

    def __init__(self, switched: Switched, *, inbound: str | None = None) -> None:
        self.lan = switched.lan
        ip("link add gv-vm type veth peer name other")
        for interface in ("gv-vm", "other"):
            silence(interface)
            ip(f"link set {interface} up")
        tap, self.vm = switched.plug("gw-vm")
        if switched.switch.kind is Kind.linux_bridge:
            forwards("gw-vm")
        self.beyond = self.lan.at("other")
        self.vm.says(frame(VM, BROADCAST, "here I am"))
        self.lan.far.hears(frame(VM, BROADCAST, "here I am"))
        asyncio.run(switched.switch.lead_out("gw-vm", VM))
        handle = TapHandle.of(os.getpid(), tap.fd)
        self.turnout = Turnout(switched.switch, "gw-vm", VM, handle, inbound=inbound)

    def send(self, *texts: str) -> list[bytes]:
        sent = [frame(FAR, VM, text) for text in texts]
        for each in sent:
            self.lan.far.says(each)
        return sent

    def beyond_heard(self, last: bytes) -> list[bytes]:
        """What has come out of the tunnel for the VM, up to that frame."""
        self.beyond.hears(last)
        return [each for each in self.beyond.heard if each[:6] == last[:6]]


@pytest.fixture
def points(switched: Switched) -> Iterator[Points]:
    points = Points(switched)
    if switched.switch.kind is Kind.linux_bridge:
        forwards("gp-vm")
    yield points
    points.turnout.close()


@pytest.fixture
def bridge_points(lan: Lan) -> Iterator[Points]:
    """Of a Linux bridge."""
    points = Points(Switched(lan, LinuxBridge("lan")))
    forwards("gp-vm")
    yield points
    points.turnout.close()


def test_what_cannot_be_made_ready_leaves_nothing(bridge_points: Points, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nor a siding: its name would be taken at the next attempt."""
    ready = bridge_points.turnout
    ready.close()
    handle, before = TapHandle(os.dup(bridge_points.vm.fd)), descriptors()
    with monkeypatch.context() as patch:
        patch.setattr(LinuxBridge, "points", refuse)
        with pytest.raises(Failed, match="no such port") as caught:
            Turnout(ready.switch, "gw-vm", VM, handle)

    assert caught.traceback, "which holds on to what was made"
    assert set(descriptors()) <= set(before)
    bridge_points.turnout = Turnout(ready.switch, "gw-vm", VM, handle)


def descriptors() -> list[str]:
    """Of this process, but those that are just being given back."""
    for each in threading.enumerate():
        if each.name == "closing":
            each.join()
    return os.listdir("/proc/self/fd")


def refuse(*_: object) -> None:
    raise Failed("no such port")


def now_ms() -> float:
    return time.time() * 1000


def have_entered(points: Points, count: int) -> bool:
    """So many frames were seen at the tap."""
    points.turnout.capture.read()
    return len(points.turnout.capture.entered) >= count


def test_what_waits_goes_first_and_what_comes_goes_after(points: Points) -> None:
    waiting = points.send("1", "2", "3")
    until(lambda: have_entered(points, 3), "all wait")

    turned = points.turnout.turn(now_ms() + 60_000)
    coming = points.send("4", "5")

    assert points.beyond_heard(coming[-1]) == [*waiting, *coming]
    assert (turned.frames_drained, turned.frames_replayed) == (3, 0)
    assert points.vm.listen() == []


def test_an_older_relay_that_ends_meanwhile_hinders_nothing(lan: Lan) -> None:
    ip("link add gi-vm type veth peer name older")
    points = Points(Switched(lan, LinuxBridge("lan")), inbound="gi-vm")
    forwards("gp-vm")
    waiting = points.send("1")
    until(lambda: have_entered(points, 1), "it waits")

    ip("link del gi-vm")
    points.turnout.turn(now_ms() + 60_000)
    coming = points.send("2")

    assert points.beyond_heard(coming[-1]) == [*waiting, *coming]
    points.turnout.turn_back()
    points.vm.hears(points.send("3")[0])
    points.turnout.close()


def test_what_comes_during_the_turn_waits_for_what_came_before(points: Points) -> None:
    tap, siding = points.lan.at("gw-vm"), points.lan.at("gs-vm")
    waiting = points.send("1")
    tap.hears(waiting[-1])
    points.turnout.set_aside()
    meanwhile = points.send("2", "3")
    siding.hears(meanwhile[-1])

    turned = points.turnout.turn(now_ms() + 60_000)
    after = points.send("4")

    assert points.beyond_heard(after[-1]) == [*waiting, *meanwhile, *after]
    assert (turned.frames_drained, turned.frames_held, turned.frames_late) == (1, 2, 0)


def test_turned_back_what_waits_in_the_siding_comes_too(points: Points) -> None:
    siding = points.lan.at("gs-vm")
    points.turnout.set_aside()
    waiting = points.send("1", "2")
    siding.hears(waiting[-1])

    points.turnout.turn_back()

    points.vm.hears(waiting[-1])
    assert [each for each in points.vm.heard if each in waiting] == waiting


def test_what_was_read_just_before_the_stop_is_sent_again_and_no_more(points: Points) -> None:
    just_then = now_ms()
    swallowed = points.send("1", "2", "3", "4")
    points.vm.hears(swallowed[-1])

    turned = points.turnout.turn(just_then)
    last = points.send("5")[0]

    assert points.beyond_heard(last) == [*swallowed[-2:], last]
    assert (turned.frames_drained, turned.frames_replayed) == (0, 2)


def test_what_was_read_long_before_the_stop_is_not_sent_again(points: Points) -> None:
    points.vm.hears(points.send("1")[0])

    turned = points.turnout.turn(now_ms() + 60_000)

    assert turned.frames_replayed == 0


def test_what_a_slow_qemu_read_last_is_sent_again_however_long_it_had_waited(points: Points) -> None:
    tap = points.lan.at("gw-vm")
    frames = points.send("1", "2", "3", "4", "5")
    tap.hears(frames[-1])
    points.vm.reads(3)

    turned = points.turnout.turn(now_ms() + 60_000)

    assert points.beyond_heard(frames[-1]) == frames[1:]
    assert (turned.frames_drained, turned.frames_replayed) == (2, 2)


def test_a_frame_that_comes_while_the_tap_is_emptied_hides_none_that_qemu_had_read(
    points: Points, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another CPU was bringing it there when the points were thrown."""
    tap = points.lan.at("gw-vm")
    frames = points.send("1", "2", "3", "4")
    tap.hears(frames[-1])
    points.vm.reads(2)
    coming, drain = frame(FAR, VM, "coming"), points.turnout.handle.drain

    def drained() -> list[Frame]:
        monkeypatch.setattr(points.turnout.handle, "drain", drain)
        found = drain()
        straight_to("gw-vm", coming)
        return found

    monkeypatch.setattr(points.turnout.handle, "drain", drained)
    turned = points.turnout.turn(now_ms() + 60_000)

    assert points.beyond_heard(coming) == [*frames, coming]
    assert (turned.frames_replayed, turned.frames_drained, turned.frames_held) == (2, 2, 1)


def test_a_frame_that_qemu_reads_while_the_points_are_thrown_is_sent_again(
    points: Points, monkeypatch: pytest.MonkeyPatch
) -> None:
    waiting, coming = points.send("1"), frame(FAR, VM, "coming")
    until(lambda: have_entered(points, 1), "it waits")
    let_go = points.turnout._let_go

    def comes_late() -> tuple[int, int, list[Frame]]:
        let = let_go()
        straight_to("gw-vm", coming)
        points.vm.hears(coming)
        return let

    monkeypatch.setattr(points.turnout, "_let_go", comes_late)
    turned = points.turnout.turn(now_ms() + 60_000)

    assert points.beyond_heard(coming) == [*waiting, coming]
    assert (turned.frames_replayed, turned.frames_drained) == (1, 1)


def straight_to(tap: str, data: bytes) -> None:
    """Past the switch."""
    with closing(Injector(tap)) as injector:
        injector.send([Frame(VNET_NOTHING, data)])


def test_tagged_frames_keep_their_tag_and_come_once(points: Points) -> None:
    """The kernel takes the tag out of a frame before anybody may look at it."""
    tap, frames = points.lan.at("gw-vm"), [frame(FAR, VM, text) for text in ("1", "2", "3")]
    with socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0) as beyond:
        tell_tags(beyond)
        beyond.bind(("other", 0x0003))
        beyond.settimeout(60)
        for each in frames:
            points.lan.far.says(tagged(each, 42))
        tap.hears(frames[-1])
        points.vm.reads(2)

        turned = points.turnout.turn(now_ms() + 60_000)

        relayed = [beyond.recvmsg(2048, ANCILLARY_BYTES)[:2] for _ in frames]
    assert [(vlan_of(ancillary), data[: len(frames[0])]) for data, ancillary in relayed] == [(42, f) for f in frames]
    assert (turned.frames_drained, turned.frames_replayed) == (1, 2)


def test_broadcasts_come_along_until_the_vm_runs_there(points: Points) -> None:
    points.turnout.turn(now_ms())
    during = frame(FAR, BROADCAST, "who has")
    points.lan.far.says(during)
    points.beyond.hears(during)

    points.turnout.hush()
    points.lan.far.says(frame(FAR, BROADCAST, "late"))
    last = points.send("after")[0]

    points.beyond.hears(last)
    assert frame(FAR, BROADCAST, "late") not in points.beyond.heard
    assert points.vm.listen() == []


def test_a_frame_of_the_vm_that_comes_back_moves_nothing(points: Points) -> None:
    points.turnout.turn(now_ms())
    points.lan.far.says(frame(VM, BROADCAST, "announcement"))
    points.beyond.hears(frame(VM, BROADCAST, "announcement"))

    last = points.send("still")[0]

    points.beyond.hears(last)


IN_GROUP = bytes.fromhex("45000032000000000111beb60a000001ef010203")
"""The header of an IPv4 packet of 50 bytes to 239.1.2.3; a host with a packet filter lets no wrong ones through."""


def to_group(text: str) -> bytes:
    ends = bytes.fromhex("01005e010203") + bytes.fromhex(FAR.replace(":", ""))
    return ends + b"\x08\x00" + IN_GROUP + text.encode().ljust(30, b"\0")


@pytest.fixture
def snooping(bridge_points: Points) -> Points:
    """See `join`."""
    return join(bridge_points)


def join(points: Points) -> Points:
    """The VM is in a group, and the bridge gives the group's frames to nobody else, because there is a querier."""
    ip("link set lan type bridge mcast_snooping 1 mcast_query_response_interval 1 mcast_querier 1")
    ip("bridge mdb add dev lan port gw-vm grp 239.1.2.3 temp")
    points.lan.far.says(to_group("before"))
    points.vm.hears(to_group("before"))
    assert to_group("before") not in points.beyond.listen()
    return points


def test_what_comes_for_the_vms_multicast_groups_is_relayed_once(snooping: Points) -> None:
    siding = snooping.lan.at("gs-vm")
    snooping.turnout.set_aside()
    meanwhile, after = to_group("meanwhile"), to_group("after")
    snooping.lan.far.says(meanwhile)
    siding.hears(meanwhile)

    snooping.turnout.turn(now_ms() + 60_000)
    snooping.lan.far.says(after)

    snooping.beyond.hears(after)
    assert [each for each in snooping.beyond.heard if each in (meanwhile, after)] == [meanwhile, after]
    assert snooping.vm.listen()[-1] == to_group("before")


def test_where_the_kernels_stp_decides_the_relays_ports_are_waited_for(lan: Lan) -> None:
    ip("link set lan type bridge forward_delay 200 stp_state 1")  # as short as it may be: a port waits for twice that
    forwards("uplink")
    points = Points(Switched(lan, LinuxBridge("lan")))
    try:
        siding = lan.at("gs-vm")
        assert not asyncio.run(until_forwarding(points.turnout.ports, longest_s=0))
        assert asyncio.run(until_forwarding(points.turnout.ports, longest_s=60))
        join(points).turnout.set_aside()
        frames = [to_group("meanwhile"), frame(FAR, VM, "meanwhile"), to_group("after"), frame(FAR, VM, "after")]
        for each in frames[:2]:
            lan.far.says(each)
            siding.hears(each)
        points.turnout.turn(now_ms() + 60_000)
        for each in frames[2:]:
            lan.far.says(each)
            points.beyond.hears(each)
        assert [each for each in points.beyond.heard if each in frames] == frames
    finally:
        points.turnout.close()


def test_a_tap_that_was_left_shut_is_opened_again(snooping: Points) -> None:
    """By an agent that was killed between STOP and the VM's return."""
    siding = snooping.lan.at("gs-vm")
    snooping.turnout.set_aside()
    snooping.lan.far.says(to_group("while it is shut"))
    siding.hears(to_group("while it is shut"))

    asyncio.run(open_again("gw-vm", "lan"))
    asyncio.run(open_again("gw-none", "lan"))

    snooping.lan.far.says(to_group("again"))
    snooping.vm.hears(to_group("again"))
    snooping.lan.far.says(frame(FAR, BROADCAST, "all"))
    snooping.vm.hears(frame(FAR, BROADCAST, "all"))
    assert to_group("while it is shut") not in snooping.vm.heard


def test_turned_back_the_groups_frames_come_to_the_tap_and_nowhere_else(snooping: Points) -> None:
    snooping.turnout.turn(now_ms() + 60_000)
    snooping.turnout.turn_back()

    snooping.lan.far.says(to_group("again"))

    snooping.vm.hears(to_group("again"))
    assert to_group("again") not in snooping.beyond.listen()


def test_turned_back_all_comes_to_the_tap_again(points: Points) -> None:
    points.turnout.turn(now_ms() + 60_000)
    points.turnout.turn_back()

    again = points.send("again")[0]
    points.vm.hears(again)
    points.lan.far.says(frame(FAR, BROADCAST, "all"))
    points.vm.hears(frame(FAR, BROADCAST, "all"))

    assert again not in points.beyond.listen()


def test_the_sacrifice_is_the_first_frame_in_the_tap(lan: Lan) -> None:
    tap, ear = lan.tap("gw-new")
    asyncio.run(plug(tap.name, "lan", muted=True))

    sacrifice("gw-new")

    ear.hears(SACRIFICE)
    assert isinstance(ear, Ear)
    assert ear.heard == [SACRIFICE]

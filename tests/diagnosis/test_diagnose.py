"""Each cause is named when it is there, alone, and none when nothing is wrong."""

from __future__ import annotations

import pytest
from tests.diagnosis.wire import (
    CLIENT,
    CLIENT_IP,
    OTHER,
    RESUME_S,
    STOP_S,
    VM,
    VM_IP,
    Network,
    Place,
    Talk,
    any_frame,
    arp,
    codes,
    datagram,
    examine,
    garp,
    rarp,
    tagged,
)

from godwit.diagnosis.causes import CAUSES

STOP, RESUME = STOP_S, RESUME_S


@pytest.fixture
def net() -> Network:
    """Up to STOP: the VM lives on host-a, all is well."""
    made = Network()
    made.chatter(0.0, 20.0, *made.everywhere)
    made.exchange(0.0, STOP, made.a, made.client)
    return made


def moved(net: Network) -> Network:
    """A good move."""
    net.announce(RESUME, net.b, net.a, net.client)
    net.exchange(RESUME + 0.01, 15.0, net.b, net.client)
    return net


def test_a_good_move_is_seen_and_nothing_is_wrong_with_it(net: Network) -> None:
    diagnosis = moved(net).diagnose()

    assert codes(diagnosis) == []
    [vm] = diagnosis.vms
    [move] = vm.moves
    assert vm.mac == VM
    assert (move.place_before, move.place_after) == ("host-a.pcap", "host-b.pcap")
    assert set(move.announcements) == {"rarp", "gratuitous-arp"}


@pytest.mark.parametrize("place", ["a", "b", "client"])
def test_a_good_move_is_good_in_each_capture_alone(net: Network, place: str) -> None:
    assert codes(moved(net).diagnose(getattr(net, place))) == []


def test_no_announcement(net: Network) -> None:
    for wait_s in (0.1, 0.3, 0.7, 1.5):
        net.show(STOP + wait_s, net.talk.ask(again=True), net.a, net.client)
    net.exchange(STOP + 4, 15.0, net.b, net.client)

    assert codes(net.diagnose()) == ["no-announcement"]
    assert codes(net.diagnose(net.client)) == ["no-announcement"]


def test_an_announcement_that_something_swallows(net: Network) -> None:
    net.announce(RESUME, net.b)
    net.exchange(RESUME + 0.01, 15.0, net.b, net.client)

    diagnosis = net.diagnose()

    assert codes(diagnosis) == ["announcement-filtered"]
    assert {each.place for each in diagnosis.findings[0].evidence} >= {"host-b.pcap"}
    assert codes(net.diagnose(net.b, net.client)) == ["announcement-filtered"]


def unheard(net: Network) -> None:
    """The VM sends at host-b, and nobody hears it."""
    net.announce(RESUME, net.b)
    for second in range(6, 14):
        net.show(second, arp(VM, VM_IP, CLIENT_IP), net.b)
        net.show(second + 0.1, net.talk.ask(again=True), net.a, net.client)


def test_a_port_that_refuses_the_address(net: Network) -> None:
    unheard(net)

    diagnosis = net.diagnose()

    assert codes(diagnosis) == ["port-blocked"]
    assert diagnosis.findings[0].led_to


def test_two_segments_that_only_seem_one() -> None:
    net = Network()
    net.chatter(0.0, 20.0, net.a, net.client)
    net.exchange(0.0, STOP, net.a, net.client)
    net.show(0.1, arp(OTHER, VM_IP, CLIENT_IP)[:6] + b"\x02\0\0\0\0\x09" + bytes(50), net.b)
    unheard(net)

    assert codes(net.diagnose()) == ["segment-split"]


def test_another_vlan_than_before() -> None:
    net, trunk = Network(), Place("trunk.pcap")
    at = 0.0
    while at < 15.0:
        ask, answer, vlan = net.talk.ask(), net.talk.answer(), 120 if at < STOP else 20
        trunk.see(at, tagged(ask, 120))
        trunk.see(at + 0.001, tagged(answer, vlan))
        at += 0.05
    trunk.see(RESUME, tagged(rarp(), 20))

    diagnosis = examine(trunk)

    assert codes(diagnosis) == ["vlan-mismatch"]
    assert "in VLAN 120 before the move and in VLAN 20 after" in diagnosis.findings[0].what


def test_an_announcement_without_the_tag() -> None:
    net, trunk = Network(), Place("trunk.pcap")
    for step in range(300):
        trunk.see(step * 0.05, tagged(net.talk.ask(), 120))
        trunk.see(step * 0.05 + 0.001, tagged(net.talk.answer(), 120))
    trunk.see(RESUME, rarp())

    assert codes(examine(trunk)) == ["announcement-untagged"]

    trunk.see(RESUME + 0.001, tagged(rarp(), 120))
    assert codes(examine(trunk)) == []


def test_an_announcement_that_comes_late(net: Network) -> None:
    net.exchange(RESUME, 15.0, net.b, net.client)
    net.announce(RESUME + 3.0, net.b, net.a, net.client)

    assert codes(net.diagnose()) == ["announcement-late"]


def test_a_switch_that_does_not_unlearn(net: Network) -> None:
    net.announce(RESUME, net.b, net.a, net.client)
    for second in range(6, 14):
        net.show(second, net.talk.ask(again=True), net.client, net.a)

    assert codes(net.diagnose()) == ["stale-switch-entry"]


def test_an_old_port_that_goes_on_sending(net: Network) -> None:
    moved(net)
    for second in (7.0, 8.0):
        net.show(second, net.talk.acknowledge(), net.a, net.client)

    assert codes(net.diagnose()) == ["old-port-sends"]


def team(talks: list[Talk], *, doubled: bool = False) -> Place:
    """A switch with ports 5 (host-a), 6 and 7 (host-b twice), 9 (client), as `tcpdump -i any` sees it."""
    switch = Place("switch.pcap")
    for step in range(1500):
        at, talk = step * 0.01, talks[step % len(talks)]
        port = 5 if at < STOP else (6 if talk is talks[0] else 7)
        if doubled and at >= STOP:
            port = 6 + step // 2 % 2
        ask, answer = talk.ask(), talk.answer()
        switch.see(at, any_frame(ask, 9, 3))
        switch.see(at + 0.0001, any_frame(ask, port, 4))
        switch.see(at + 0.001, any_frame(answer, port, 3))
        switch.see(at + 0.0011, any_frame(answer, 9, 4))
    for port, way in ((6, 1), (5, 4), (7, 4), (9, 4)):
        switch.see(RESUME + port * 1e-5, any_frame(rarp(), port, way))
    return switch


def any_capture(place: Place) -> list[str]:
    from io import BytesIO

    from godwit.diagnosis.diagnose import diagnose
    from godwit.diagnosis.gather import Source

    return codes(diagnose([Source(place.name, BytesIO(place.pcap(link=276)))]))


def test_two_uplinks_that_are_no_channel() -> None:
    assert any_capture(team([Talk(port=40000), Talk(port=40001)])) == ["teaming-mismatch"]


def test_two_copies() -> None:
    assert any_capture(team([Talk(port=40000), Talk(port=40001)], doubled=True)) == ["two-copies"]


def test_a_good_move_in_a_capture_of_all_ports() -> None:
    assert any_capture(team([Talk()])) == []


def test_a_stale_arp_entry(net: Network) -> None:
    moved(net)
    other = Talk(port=50000, client=OTHER)
    for second in range(6, 14):
        net.show(second, other.ask(again=True, receiver="52:54:00:00:00:99"), net.client)

    assert codes(net.diagnose()) == ["stale-arp-entry"]


def test_an_address_that_two_machines_have(net: Network) -> None:
    moved(net)
    net.show(8.0, arp(OTHER, VM_IP, CLIENT_IP, reply_to=CLIENT), net.client)

    assert codes(net.diagnose()) == ["ip-conflict"]


def test_large_frames_that_do_not_pass(net: Network) -> None:
    net.announce(RESUME, net.b, net.a, net.client)
    net.exchange(RESUME + 0.01, 6.0, net.b, net.client)
    net.show(6.0, net.talk.ask(size=1400), net.client)
    for wait_s in (0.2, 0.6, 1.4, 3.0, 6.2):
        net.show(6.0 + wait_s, net.talk.ask(again=True, size=1400), net.client)
        net.show(6.01 + wait_s, net.talk.acknowledge(), net.b, net.client)

    found = codes(net.diagnose())

    assert found == ["large-frames-lost"]


@pytest.mark.parametrize("by_vm", [True, False])
def test_a_connection_that_is_reset(net: Network, by_vm: bool) -> None:
    moved(net)
    net.show(15.1, net.talk.ask(), net.client, net.b)
    net.show(15.5, net.talk.reset(by_vm=by_vm), net.b, net.client)

    [finding] = net.diagnose().findings

    assert finding.code == "connection-reset"
    assert ("the VM's side did" in finding.what) is by_vm


def test_a_client_that_ends_its_connection_roughly_is_no_victim(net: Network) -> None:
    moved(net)
    net.show(15.1, net.talk.reset(by_vm=False), net.client, net.b)

    assert codes(net.diagnose()) == []


def test_a_vm_that_stood_still_for_long(net: Network) -> None:
    for wait_s in (0.1, 0.3, 0.7, 1.5, 3.1):
        net.show(STOP + wait_s, net.talk.ask(again=True), net.a, net.client)
    net.announce(STOP + 4, net.b, net.a, net.client)
    net.exchange(STOP + 4.01, 15.0, net.b, net.client)

    assert codes(net.diagnose()) == ["long-silence"]


def test_a_vm_that_never_comes_back(net: Network) -> None:
    for second in range(6, 14):
        net.show(second, net.talk.ask(again=True), net.a, net.client)

    assert codes(net.diagnose(net.client)) == ["vm-silent"]


def test_a_heartbeat_that_came_too_late(net: Network) -> None:
    for number in range(60):
        at = number * 0.2 if number < 25 else number * 0.2 + 1.5
        net.show(at, datagram(number, 5405), net.a if at < STOP else net.b, net.client)
    moved(net)

    assert codes(net.diagnose()) == ["heartbeat-exceeded"]


def test_too_many_moves() -> None:
    net = Network()
    net.chatter(0.0, 60.0, *net.everywhere)
    for number in range(5):
        here = net.a if number % 2 == 0 else net.b
        if number:
            net.announce(number * 12.0, here, net.b if here is net.a else net.a, net.client)
        net.exchange(number * 12.0 + 0.01, number * 12.0 + 11.9, here, net.client, every_s=0.05)

    assert codes(net.diagnose()) == ["moved-too-often"]


def test_an_ordinary_machine_is_no_vm_that_moved(net: Network) -> None:
    place = Place("office.pcap")
    net.exchange(0.0, 10.0, place)
    place.see(4.0, garp())
    place.see(6.0, net.talk.reset(by_vm=False))

    diagnosis = examine(place)

    assert codes(diagnosis) == []


def test_clocks_that_differ_are_set_right(net: Network) -> None:
    moved(net)
    net.b.packets = [(at_s + 40.0, data, length) for at_s, data, length in net.b.packets]

    diagnosis = net.diagnose()

    assert codes(diagnosis) == []
    assert any("host-b.pcap was 40" in each for each in diagnosis.problems)


def test_every_cause_explains_only_what_exists() -> None:
    for code, cause in CAUSES.items():
        assert cause.explains <= CAUSES.keys(), code
        assert cause.advice.linux_bridge
        assert cause.advice.vsphere

"""Headers of what passes a tap are kept by the kernel: both ways, without payload, the last ones when room is short."""

from __future__ import annotations

import time

import pytest
from tests.diagnosis.wire import Talk, datagram, rarp

from godwit.core.errors import Failed
from godwit.diagnosis.capture import Packet
from godwit.diagnosis.sight import Kind, sight_of
from godwit.network.headers import BLOCK_BYTES, Headers

from .conftest import Ear, Lan, ip, silence, until

pytestmark = pytest.mark.root


def recorded(lan: Lan) -> tuple[Ear, Headers]:
    """A VM's side of a tap that is up, and its headers."""
    _, vm = lan.tap("gw-one")
    silence("gw-one")
    ip("link set gw-one up")
    return vm, Headers("gw-one")


def taken(headers: Headers, count: int) -> list[Packet]:
    """So many, once the kernel has closed their block."""
    found: list[Packet] = []

    def look() -> bool:
        found.extend(headers.take())
        return len(found) >= count

    until(look, f"{count} headers")
    return found


def test_both_ways_and_no_payload(lan: Lan) -> None:
    vm, headers = recorded(lan)
    talk = Talk()
    answer = talk.answer(size=30)
    ask = talk.ask(size=30)
    vm.says(answer)
    vm.says(datagram(1, 5405))
    vm.says(rarp())
    lan.at("gw-one").says(ask)

    packets = taken(headers, 3)

    seen = [sight_of(each) for each in packets]
    assert [each.kind for each in seen if each] == [Kind.tcp, Kind.udp, Kind.tcp]
    assert [each.is_outgoing for each in packets] == [False, False, True]
    assert [len(each.data) for each in packets] == [14 + 20 + 20, 14 + 20 + 8, 14 + 20 + 20]
    assert packets[0].data == answer[: len(packets[0].data)]
    assert seen[0]
    assert seen[0].segment
    assert seen[0].segment.payload_bytes == 30
    assert abs(packets[0].at_ms - time.time() * 1000) < 60_000
    headers.close()
    assert headers.missed == 0


def test_what_is_old_makes_room(lan: Lan) -> None:
    vm, headers = recorded(lan)
    talk = Talk()
    for _ in range(10):
        vm.says(talk.answer())
    until(lambda: headers.forget_before(time.time() * 1000 + 1000) > 0, "a block of headers is closed")
    vm.says(talk.answer(size=77))

    payloads: list[int] = []

    def look() -> bool:
        segments = [each.segment for each in map(sight_of, headers.take()) if each]
        payloads.extend(each.payload_bytes for each in segments if each)
        return 77 in payloads

    until(look, "the new one is kept")

    assert len(payloads) <= 10, "of the old ones at least the first is gone; the kernel may have begun a second block"
    assert payloads[-1] == 77
    headers.close()
    headers.close()


def test_half_of_the_ring_stays_free(lan: Lan, monkeypatch: pytest.MonkeyPatch) -> None:
    """Else what passes at the switch-over would find no room in it."""
    monkeypatch.setattr("godwit.network.headers.BLOCKS", 8)
    vm, headers = recorded(lan)
    talk = Talk()
    frames_of_a_block = BLOCK_BYTES // 128
    for _ in range(8 * frames_of_a_block):
        vm.says(talk.answer())
    until(lambda: headers.forget_before(0.0) > 0, "room is made")
    until(lambda: headers.forget_before(0.0) == 0, "no more than that")

    assert abs(headers.forgotten_ms - time.time() * 1000) < 60_000
    assert 0 < len(taken(headers, 1)) <= 5 * frames_of_a_block
    headers.close()


def test_an_interface_that_is_not_there(lan: Lan) -> None:
    with pytest.raises(Failed, match="headers cannot be recorded on gw-none"):
        Headers("gw-none")

"""Captures of every kind are read, and whatever is no sound capture costs a sentence and no memory."""

from __future__ import annotations

import contextlib
import gzip
import resource
import struct
from collections.abc import Callable
from io import BytesIO
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.diagnosis.wire import RESUME_S, START_S, Network, Place, rarp

from godwit.core.errors import Invalid, Refused
from godwit.diagnosis.capture import Capture, Packet
from godwit.diagnosis.diagnose import diagnose
from godwit.diagnosis.gather import Source


def good() -> Place:
    net = Network()
    net.exchange(0.0, 2.0, net.client)
    net.announce(RESUME_S, net.client)
    return net.client


def block(kind: int, body: bytes, order: str = "<") -> bytes:
    body += bytes(-len(body) % 4)
    size = struct.pack(order + "I", len(body) + 12)
    return struct.pack(order + "I", kind) + size + body + size


def pcapng(place: Place, *, order: str = "<", nanoseconds: bool = False, name: bytes = b"eth0") -> bytes:
    """As dumpcap writes it."""
    section = block(0x0A0D0D0A, struct.pack(order + "IHHq", 0x1A2B3C4D, 1, 0, -1), order)
    options = struct.pack(order + "HH", 2, len(name)) + name + bytes(-len(name) % 4)
    options += struct.pack(order + "HHBxxx", 9, 1, 9 if nanoseconds else 6) + bytes(4)
    out = [section, block(1, struct.pack(order + "HHI", 1, 0, 128) + options, order)]
    for at_s, data, _ in sorted(place.packets, key=lambda each: each[0]):
        ticks = int((START_S + at_s) * (1e9 if nanoseconds else 1e6))
        head = struct.pack(order + "IIIII", 0, ticks >> 32, ticks & 0xFFFFFFFF, len(data), len(data))
        out.append(block(6, head + data, order))
    return b"".join(out)


def read(data: bytes) -> tuple[list[Packet], str]:
    capture = Capture(BytesIO(data), "x.pcap")
    return list(capture), capture.problem


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("nanoseconds", [False, True])
def test_pcapng_and_pcap_tell_the_same(order: str, nanoseconds: bool) -> None:
    place = good()
    classic, _ = read(place.pcap())

    packets, problem = read(pcapng(place, order=order, nanoseconds=nanoseconds))

    assert problem == ""
    assert [each.data for each in packets] == [each.data for each in classic]
    assert [each.at_ms for each in packets] == pytest.approx([each.at_ms for each in classic], abs=0.002)
    assert [each.number for each in packets] == list(range(1, len(packets) + 1))


def test_interfaces_of_a_pcapng_are_places() -> None:
    place = good()
    two = pcapng(place, name=b"port1") + pcapng(place, name=b"port2")

    capture = Capture(BytesIO(two), "x.pcapng")
    packets = list(capture)

    assert [each.name for each in capture.interfaces] == ["port1", "port2"]
    assert {each.interface for each in packets} == {0, 1}


@pytest.mark.parametrize("write", [Place.pcap, pcapng])
def test_a_capture_cut_anywhere_is_read_up_to_there(write: Callable[[Place], bytes]) -> None:
    place = Place("x", good().packets[:6])
    whole = write(place)

    for end in range(200, len(whole)):
        packets, problem = read(whole[:end])
        assert len(packets) <= 6
        assert bool(problem) or end == len(whole) or len(packets) < 6


def test_one_that_is_packed_is_read_and_cut_anywhere_it_has_a_problem() -> None:
    whole = gzip.compress(good().pcap())

    assert read(whole) == read(good().pcap())
    for end in range(3, len(whole) - 1, 7):
        _, problem = read(whole[:end])
        assert "packed by gzip, and the rest is cut off" in problem


def test_a_gigabyte_of_nothing_packed_small_takes_no_memory() -> None:
    packed = gzip.compress(Place("x").pcap() + bytes(1 << 26)) + gzip.compress(bytes(1 << 26)) * 14
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss

    assert diagnose([Source("bomb.pcap.gz", BytesIO(packed))]).problems

    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 32 * 1024


@pytest.mark.parametrize("data", [b"", b"hello", bytes(1000), b"\xd4\xc3\xb2"])
def test_what_is_no_capture_is_refused_in_a_sentence(data: bytes) -> None:
    with pytest.raises(Invalid, match="neither a pcap nor a pcapng"):
        read(data)


def test_frames_of_another_kind_are_refused_in_a_sentence() -> None:
    with pytest.raises(Refused, match="link type 105"):
        diagnose([Source("wlan.pcap", BytesIO(good().pcap(link=105)))])


@given(st.binary(max_size=400))
def test_no_frame_is_too_strange(data: bytes) -> None:
    place = good()
    for at_s, link in ((1.0, 1), (1.1, 113), (1.2, 276)):
        place.packets = [*good().packets[:20], (at_s, data or b"x", max(len(data), 1)), (5.0, rarp(), 60)]
        diagnose([Source("x.pcap", BytesIO(place.pcap(link=link)))])


@given(st.sampled_from([Place.pcap, pcapng]), st.data())
def test_no_damage_is_more_than_a_problem(write: Callable[[Place], bytes], data: st.DataObject) -> None:
    whole = bytearray(write(Place("x", good().packets[:30])))
    for _ in range(data.draw(st.integers(1, 8))):
        at = data.draw(st.integers(24, len(whole) - 1))
        whole[at] = data.draw(st.integers(0, 255))
    with contextlib.suppress(Invalid, Refused):
        diagnose([Source("x.pcap", BytesIO(bytes(whole)))])


@given(st.binary(max_size=2000))
def test_garbage_behind_a_good_beginning_is_no_more(garbage: bytes) -> None:
    for head in (good().pcap()[:24], pcapng(Place("x"))):
        read(head + garbage)


@pytest.mark.parametrize("head", [Place("x").pcap(), pcapng(Place("x")), b""])
def test_a_gigabyte_of_nothing_takes_no_memory(tmp_path: Path, head: bytes) -> None:
    file = tmp_path / "large.pcap"
    with file.open("wb") as out:
        out.write(head)
        out.truncate(1 << 30)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss

    with file.open("rb") as stream, contextlib.suppress(Invalid):
        assert diagnose([Source("large.pcap", stream)]).problems

    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 32 * 1024


def test_time_that_runs_backwards_is_borne() -> None:
    place = good()
    data = place.pcap()
    turned = bytearray(data)
    for at in range(24, 24 + 16 * 20, 16):
        turned[at : at + 4] = b"\x01\0\0\0"

    diagnose([Source("x.pcap", BytesIO(bytes(turned)))])

"""Which frames are sent a second time: never one that the guest has confirmed, always one that may be lost."""

from __future__ import annotations

from dataclasses import replace
from itertools import product

import pytest
from tests.network.segments import ACK, FIN, SYN, Place, packet, six

from godwit.network.frames import tagged
from godwit.network.ring import VNET_NOTHING, Frame
from godwit.network.swallowed import MOST, Seen, late, left_out, swallowed
from godwit.network.tcp import is_reached, segment_in

STOP_MS = 1000.0
CLIENT, VM, STRANGER = ("10.0.0.2", 40000), ("10.0.0.1", 80), ("10.0.0.3", 40000)


def at(ms: float, data: bytes) -> Frame:
    return Frame(VNET_NOTHING, data, STOP_MS + ms)


def data(ms: float, seq: int, size: int = 100, sender: Place = CLIENT) -> Frame:
    return at(ms, packet(sender, VM, seq=seq, size=size))


def answer(ms: float, ack: int, receiver: Place = CLIENT) -> Frame:
    return at(ms, packet(VM, receiver, ack=ack))


def datagram(ms: float, text: bytes = b"datagram") -> Frame:
    return at(ms, bytes(12) + b"\x08\x00" + text.ljust(60, b"\0"))


def again(entered: list[Frame], said: list[Frame], drained: tuple[Frame, ...] = ()) -> list[Frame]:
    return swallowed(Seen(entered, said), drained, stopped_at_ms=STOP_MS)


def test_a_segment() -> None:
    found = segment_in(packet(CLIENT, VM, seq=7, ack=9, size=3, flags=ACK | FIN))
    assert found is not None
    assert (found.start, found.end, found.ack, found.is_syn) == (7, 11, 9, False)
    replied = segment_in(packet(VM, CLIENT, flags=SYN))
    assert replied is not None
    assert (replied.back, replied.ack, replied.is_syn, replied.end) == (found.flow, None, True, 1)
    longer = segment_in(six(CLIENT, VM, seq=7, size=3))
    assert longer is not None
    assert (longer.start, longer.end) == (7, 10)
    tagged_one = segment_in(tagged(packet(CLIENT, VM, seq=7), 5))
    assert tagged_one is not None
    assert tagged_one.flow != found.flow


def test_what_is_no_plain_segment() -> None:
    whole = packet(CLIENT, VM, size=3)
    options, fragment, udp, jumbo = (bytearray(whole) for _ in range(4))
    options[14], fragment[20], udp[23], jumbo[16:18] = 0x46, 0x20, 17, b"\0\0"
    for each in (b"", whole[:53], options, fragment, udp, jumbo, six(CLIENT, VM)[:73], bytes(12) + b"\x08\x06" * 30):
        assert segment_in(bytes(each)) is None


def test_numbers_go_round() -> None:
    assert is_reached(5, 5)
    assert is_reached(2**32 - 1, 3)
    assert not is_reached(3, 2**32 - 1)


def test_what_was_confirmed_is_not_sent_again_nor_what_came_before_it() -> None:
    one, two = data(-3, 0), data(-2, 100)
    assert again([one, two], []) == [one, two]
    assert again([one, two], [answer(-1.5, 100)]) == [two]
    assert again([one, two], [answer(-1, 200)]) == []
    assert again([datagram(-3), two], [answer(-1, 200)]) == []
    assert again([one, datagram(-2)], [answer(-1, 100)]) == [datagram(-2)]


def test_at_the_end_of_the_numbers() -> None:
    assert again([data(-3, -50)], [answer(-1, 50)]) == []
    assert again([data(-3, -50)], [answer(-1, -1)]) == [data(-3, -50)]


def test_over_ipv6_and_in_a_vlan() -> None:
    for wrapped in (lambda frame: frame, lambda frame: tagged(frame, 7)):
        sent = at(-3, wrapped(six(CLIENT, VM, size=100)))
        assert again([sent], [at(-1, wrapped(six(VM, CLIENT, ack=100)))]) == []
    assert again([sent], [at(-1, six(VM, CLIENT, ack=100))]) == [sent]


@pytest.mark.parametrize(
    "said",
    [
        answer(-1, 199),  # a part of it only
        answer(-4, 200),  # before it came
        answer(-1, 200, receiver=STRANGER),
        at(-1, packet(CLIENT, VM, ack=200)),
        at(-1, packet(VM, CLIENT, ack=200, flags=0)),
        datagram(-1),
    ],
)
def test_what_confirms_nothing(said: Frame) -> None:
    assert again([data(-3, 100)], [said]) == [data(-3, 100)]


def test_what_cannot_be_confirmed() -> None:
    for each in (packet(CLIENT, VM, seq=9), packet(CLIENT, VM, flags=SYN)):
        assert again([at(-2, each)], [answer(-1, 10)]) == [at(-2, each)]


def test_bytes_that_came_twice_prove_nothing_of_the_second_frame() -> None:
    """The first may have been confirmed; a datagram between them would be lost if both were held to be delivered."""
    first, between, second = data(-30, 0), datagram(-2), data(-1, 0)
    assert again([first, between, second], [answer(-0.5, 100)]) == [between, second]


def test_what_lies_in_the_guests_memory_is_not_sent_again() -> None:
    one, two = datagram(-3, b"1"), datagram(-2, b"2" + bytes(200))
    in_memory = [frame.data[:128].ljust(128, b"?") for frame in (one, two)]

    def left(*found: bytes, before: tuple[Frame, ...] = ()) -> list[Frame]:
        return swallowed(Seen([*before, one, two], (), found), (), stopped_at_ms=STOP_MS)

    assert left() == [one, two]
    assert left(in_memory[0]) == [two]
    assert left(in_memory[1]) == []
    assert left(*in_memory) == []
    assert left(in_memory[1][:127]) == [one, two]
    assert left(in_memory[1], before=(datagram(-50, b"2" + bytes(200)),)) == [one, two]


def test_no_frame_that_was_swallowed_is_left_out() -> None:
    """Each way to stop a QEMU that delivers what it reads in order, to a guest that confirms some of what it got."""
    flows = [CLIENT, STRANGER]
    for kinds, lost, lag in product(product(range(3), repeat=5), range(MOST + 1), range(5)):
        sent = dict.fromkeys(flows, 0)
        entered = []
        for number, kind in enumerate(kinds):
            if kind == 2:
                entered.append(datagram(number - 6, b"%d" % number))
            else:
                entered.append(data(number - 6, sent[flows[kind]], sender=flows[kind]))
                sent[flows[kind]] += 100
        delivered = len(entered) - lost
        confirmed = {flows[kind]: 0 for kind in (0, 1)}
        for kind in kinds[: max(0, delivered - lag)]:
            if kind != 2:
                confirmed[flows[kind]] += 100
        said = [answer(-0.5, ack, receiver=place) for place, ack in confirmed.items()]
        replayed = again(entered, said)
        assert set(map(id, entered[delivered:])) <= set(map(id, replayed))
        assert len(replayed) <= MOST


def test_those_that_wait_are_not_sent_again() -> None:
    one, two, three = datagram(-3, b"1"), datagram(-2, b"2"), datagram(-0.5, b"3")
    assert again([one, two, three], [], (replace(three, header=b""),)) == [one, two]


def test_what_entered_after_those_that_wait_was_not_read_before_them() -> None:
    read, one, two, coming = (datagram(each / 10, b"%d" % each) for each in (-4, -3, -2, 1))
    assert again([read, one, two, coming], [], (one, two)) == [read]
    assert again([read, two, one, coming], [], (one, two)) == [read]
    assert again([one, read, two, coming], [], (one, two)) == [read], "two CPUs brought them"
    assert again([read, one, one, coming], [], (one,)) == [read, one], "the same twice, of which one was read"
    assert late([read, one, two, coming], (one, two)) == [coming]
    assert late([read, coming], ()) == []
    assert late([read, coming], (two,)) == []


def test_only_what_nobody_took_is_left_out() -> None:
    one, two = datagram(1, b"1"), datagram(2, b"2")
    assert left_out([one, two, one], [replace(one, header=b"")]) == [two, one]
    assert left_out([one], [two, one, one]) == []


def test_how_long_before_the_stop() -> None:
    old, older = datagram(-60, b"1"), datagram(-70, b"0")
    assert again([older, old], []) == []
    waiting = datagram(-50, b"2")
    assert again([older, old, waiting], [], (waiting,)) == [older, old]
    waiting = datagram(-0.5, b"2")
    assert again([older, old, waiting], [], (waiting,)) == []

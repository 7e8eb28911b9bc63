"""Connections, followed: what counts as a silence, as sent again, as reset; and across two hosts."""

from __future__ import annotations

import struct

import pytest
from pydantic import TypeAdapter
from tests.diagnosis.wire import VM, Talk, datagram, raw

from godwit.diagnosis.capture import ETHERNET, Packet
from godwit.diagnosis.flows import Connection, Flows
from godwit.diagnosis.reporting import reported, verdict
from godwit.diagnosis.sight import sight_of


class Tap:
    """What passes a VM's tap, told to flows."""

    def __init__(self, flows: Flows | None = None) -> None:
        self.flows = flows or Flows()
        self.at_ms = 1000.0

    def pass_(self, data: bytes, after_ms: float = 1.0) -> None:
        self.at_ms += after_ms
        seen = sight_of(Packet(1, self.at_ms, 0, ETHERNET, data, len(data)))
        assert seen is not None
        self.flows.follow(seen, is_from_vm=seen.sender == raw(VM))

    @property
    def connection(self) -> Connection:
        [only] = self.flows.connections.values()
        return only


@pytest.fixture
def tap() -> Tap:
    return Tap()


@pytest.fixture
def talk() -> Talk:
    return Talk()


def exchange(tap: Tap, talk: Talk, times: int, *, after_ms: float = 5.0) -> None:
    for _ in range(times):
        tap.pass_(talk.ask(), after_ms)
        tap.pass_(talk.answer())


def test_a_request_that_waits_is_a_silence_and_what_its_client_paused_before_is_none(tap: Tap, talk: Talk) -> None:
    exchange(tap, talk, 10)
    tap.pass_(talk.ask(), 4.0)
    tap.pass_(talk.answer(), 80.0)

    told = reported(tap.connection)

    assert told.longest_silence_ms == pytest.approx(80.0)
    assert (told.client, told.server) == ("10.0.0.2:40000", "10.0.0.100:6379")
    assert (told.retransmissions, told.resets, told.survived) == (0, 0, True)


def test_a_request_from_before_what_counts_waits_since_then(tap: Tap, talk: Talk) -> None:
    exchange(tap, talk, 3)
    tap.pass_(talk.ask(), 4.0)
    tap.pass_(talk.answer(), 900.0)
    tap.pass_(talk.ask(), 4.0)
    tap.flows.count_from(tap.at_ms + 20.0)
    tap.pass_(talk.answer(), 80.0)

    assert reported(tap.connection).longest_silence_ms == pytest.approx(80.0)
    tap.flows.count_from(tap.at_ms + 1.0)
    assert not tap.flows.connections, "nobody said anything any more"


def test_the_first_exchange_that_is_seen_counts(tap: Tap, talk: Talk) -> None:
    tap.pass_(talk.ask())
    tap.pass_(talk.answer(), 80.0)

    assert reported(tap.connection).longest_silence_ms == pytest.approx(80.0)


def test_a_client_that_says_nothing_is_no_silence(tap: Tap, talk: Talk) -> None:
    exchange(tap, talk, 3)
    tap.pass_(talk.ask(), 4000.0)
    tap.pass_(talk.answer(), 3.0)

    assert reported(tap.connection).longest_silence_ms < 10


def test_an_acknowledgement_alone_does_not_answer_a_request(tap: Tap, talk: Talk) -> None:
    exchange(tap, talk, 3)
    tap.pass_(talk.ask())
    tap.pass_(talk.acknowledge(), 40.0)
    tap.pass_(talk.answer(), 40.0)

    assert reported(tap.connection).longest_silence_ms == pytest.approx(80.0)


def test_but_it_does_where_data_goes_one_way(tap: Tap, talk: Talk) -> None:
    for _ in range(5):
        tap.pass_(talk.ask(size=1000))
        tap.pass_(talk.acknowledge())

    assert reported(tap.connection).longest_silence_ms < 5


def test_a_stream_that_stops_and_goes_on_was_silent(tap: Tap, talk: Talk) -> None:
    tap.pass_(talk.ask())
    for _ in range(10):
        tap.pass_(talk.answer(size=1000), 3.0)
    tap.pass_(talk.answer(size=1000), 90.0)

    assert reported(tap.connection).longest_silence_ms == pytest.approx(90.0)


def test_sent_again_is_counted_and_the_same_frame_twice_is_not(tap: Tap, talk: Talk) -> None:
    exchange(tap, talk, 3)
    ask = talk.ask()
    tap.pass_(ask)
    tap.pass_(ask)
    assert tap.connection.retransmissions == 0

    tap.pass_(talk.ask(again=True), 200.0)
    assert tap.connection.retransmissions == 1


@pytest.mark.parametrize("by_vm", [True, False])
def test_a_reset_and_who_sent_it(tap: Tap, talk: Talk, by_vm: bool) -> None:
    exchange(tap, talk, 3)
    tap.pass_(talk.reset(by_vm=by_vm))
    tap.pass_(talk.reset(by_vm=not by_vm))

    told = reported(tap.connection)

    assert (told.resets, told.survived) == (1, False)
    assert told.reset_by == ("vm" if by_vm else "peer")


def test_who_waits_at_the_end_was_left_without_an_answer(tap: Tap, talk: Talk) -> None:
    exchange(tap, talk, 3)
    tap.pass_(talk.ask())
    tap.flows.close(tap.at_ms + 3000)

    told = reported(tap.connection)

    assert not told.survived
    assert told.longest_silence_ms == pytest.approx(3000)
    assert verdict([told]) == "0 connections carried, 0 reset, 1 left without an answer, longest silence 3000 ms"


def test_answers_that_do_not_arrive_leave_the_peer_without_one(tap: Tap, talk: Talk) -> None:
    """Behind the VM's tap they are lost: it says them again and again, and they are not acknowledged."""
    exchange(tap, talk, 3)
    tap.pass_(talk.ask())
    for again in (False, True, True):
        tap.pass_(talk.answer(again=again), 300.0)
    tap.flows.close(tap.at_ms + 1000)

    told = reported(tap.connection)

    assert not told.survived
    assert told.longest_silence_ms == pytest.approx(1900)


def test_a_connection_goes_on_at_another_host(tap: Tap, talk: Talk) -> None:
    """What the source saw travels as JSON; a frame that the relay sends again is known there."""
    exchange(tap, talk, 10)
    ask = talk.ask()
    tap.pass_(ask)
    kind = TypeAdapter(tuple[Connection, ...])
    sent = kind.validate_json(kind.dump_json(tuple(tap.flows.connections.values())))

    there = Tap(Flows(sent))
    there.at_ms = tap.at_ms
    there.pass_(ask, 40.0)
    there.pass_(talk.answer(), 10.0)

    told = reported(there.connection)
    assert told.retransmissions == 0
    assert told.longest_silence_ms == pytest.approx(50.0)


def test_datagrams_have_a_period_and_a_silence(tap: Tap) -> None:
    for number in range(20):
        tap.pass_(datagram(number, 5405), 100.0)
    tap.pass_(datagram(21, 5405), 700.0)

    [flow] = tap.flows.datagrams.values()

    assert flow.period_ms() == pytest.approx(100.0)
    assert flow.silence.length_ms == pytest.approx(700.0)


def test_more_connections_than_can_be_kept_cost_no_memory(tap: Tap, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("godwit.diagnosis.flows.FLOWS_MAX", 10)
    for port in range(30):
        tap.pass_(Talk(port=port + 1024).ask())

    assert len(tap.flows.connections) == 10
    assert tap.flows.forgotten == 20


def test_sequence_numbers_that_wrap_are_no_retransmission(tap: Tap) -> None:
    talk = Talk(_sent=(1 << 32) - 30)
    for _ in range(4):
        data = bytearray(talk.ask())
        struct.pack_into("!I", data, 38, struct.unpack_from("!I", data, 38)[0] % (1 << 32))
        tap.pass_(bytes(data))
        if talk._sent >= 1 << 32:
            talk._sent -= 1 << 32

    assert tap.connection.retransmissions == 0


def test_a_verdict_is_one_line(tap: Tap, talk: Talk) -> None:
    exchange(tap, talk, 5)

    told = reported(tap.connection)

    assert verdict([told, told]) == "2 connections carried, 0 reset, longest silence 1 ms"
    assert verdict(None) == "not observed"
    assert verdict([]) == "0 connections carried, 0 reset"

"""What the fifty clients measure: from a question on, or from the last answer that came after it."""

from __future__ import annotations

import socket
from collections.abc import Iterator

import pytest

from godwit.lab.silence_clients import Talk


@pytest.fixture
def ends() -> Iterator[tuple[socket.socket, socket.socket]]:
    own, other = socket.socketpair()
    own.setblocking(False)
    with own, other:
        yield own, other


def test_a_silence_begins_with_the_question(ends: tuple[socket.socket, socket.socket]) -> None:
    own, other = ends
    talk = Talk("asking", own, b"hello", pause_ms=0.0)
    talk.ask(float("inf"))
    talk.ask(float("inf"))
    assert other.recv(100) == b"hello", "one who waits for an answer does not ask again"
    asked_ms = talk.asked_ms
    other.send(b"hello")
    talk.read()

    (told,) = talk.silences
    assert asked_ms is not None
    assert told[1] == pytest.approx(told[0] - asked_ms)
    assert talk.told(asked_ms, told[0])["program_ms"] == told[1]
    assert talk.told(told[0] + 1, told[0] + 2)["program_ms"] == 0.0


def test_who_asks_on_waits_from_the_last_answer_on(ends: tuple[socket.socket, socket.socket]) -> None:
    own, other = ends
    talk = Talk("ticking", own, b"tick", pause_ms=0.0, waits=False, most_bytes=4)
    talk.ask(float("inf"))
    talk.ask(float("inf"))
    assert other.recv(100) == b"ticktick"
    other.send(b"ticktick")
    talk.read()
    talk.read()

    first, second = talk.silences
    assert second[1] == pytest.approx(second[0] - first[0], abs=0.001)
    assert talk.asked_ms is None


def test_both_kinds_of_end_are_told_apart(ends: tuple[socket.socket, socket.socket]) -> None:
    own, other = ends
    talk = Talk("left", own, b"x", pause_ms=0.0)
    other.close()
    talk.read()
    assert (talk.is_over, talk.is_reset) == (True, False)

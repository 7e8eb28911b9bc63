"""RESP: what goes in comes out, however the stream is cut."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from godwit.lab.traffic_redis import RedisError, Replies, command, value_of

STREAM = b"+OK\r\n$5\r\nab\r\nc\r\n:42\r\n$-1\r\n$0\r\n\r\n"
REPLIES = [b"OK", b"ab\r\nc", 42, None, b""]


def test_command_counts_bytes_not_characters() -> None:
    assert command(b"SET", b"k", "é".encode()) == b"*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$2\r\n\xc3\xa9\r\n"


@given(st.sets(st.integers(1, len(STREAM) - 1)))
def test_replies_do_not_depend_on_how_the_stream_is_cut(cuts: set[int]) -> None:
    replies = Replies()
    edges = [0, *sorted(cuts), len(STREAM)]
    got = [reply for start, end in pairwise(edges) for reply in replies.feed(STREAM[start:end])]
    assert got == REPLIES


def test_half_a_reply_is_no_reply() -> None:
    replies = Replies()
    assert replies.feed(b"$5\r\nabcde\r") == []
    assert replies.feed(b"\n+OK\r\n") == [b"abcde", b"OK"]


@pytest.mark.parametrize("stream", [b"-ERR unknown command\r\n", b"HTTP/1.1 400 Bad Request\r\n"])
def test_what_is_not_an_answer_is_an_error(stream: bytes) -> None:
    with pytest.raises(RedisError):
        Replies().feed(stream)


def test_values_differ() -> None:
    assert len({value_of(counter) for counter in range(1000)}) == 1000
    assert len(value_of(7)) == 32

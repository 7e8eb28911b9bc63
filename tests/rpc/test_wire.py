"""The table, the messages and the errors; and that nobody changes the wire without saying so."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Protocol

import pytest
from hypothesis import given
from hypothesis import strategies as st

from godwit.contract.host import ConsoleData, Host, Peer
from godwit.core.errors import KINDS, Broken, Failed, GodwitError, Invalid, NotFound
from godwit.core.model import Value
from godwit.rpc.wire import (
    WIRE_VERSION,
    Verb,
    decode,
    decode_error,
    encode,
    encode_error,
    fingerprint,
    verbs,
)

PINNED = {
    "version": 1,
    "Host": "c40a71688a7cecca",
    "Peer": "68673a2854b1dce8",
}


def test_the_contracts_change_only_together_with_the_version() -> None:
    now = {"version": WIRE_VERSION, "Host": fingerprint(Host), "Peer": fingerprint(Peer)}
    assert now == PINNED, (
        "the wire has changed: if a released godwit speaks the old one, raise WIRE_VERSION in src/godwit/rpc/wire.py; "
        f"then put this here as PINNED: {now}"
    )


class Word(Value):
    """A message."""

    word: str


class Four(Protocol):
    async def plain(self, request: Word, /) -> Word: ...

    def down(self, request: Word, /) -> AsyncIterator[Word]: ...

    async def up(self, request: AsyncIterator[Word], /) -> Word: ...

    def both(self, request: AsyncIterator[Word], /) -> AsyncIterator[Word]: ...


def test_a_verb_of_each_shape() -> None:
    assert list(verbs(Four).values()) == [
        Verb("plain", Word, Word, False, False),
        Verb("down", Word, Word, False, True),
        Verb("up", Word, Word, True, False),
        Verb("both", Word, Word, True, True),
    ]


class NoMessage(Protocol):
    async def plain(self, request: int, /) -> Word: ...


class TwoMessages(Protocol):
    async def plain(self, request: Word, more: Word, /) -> Word: ...


@pytest.mark.parametrize("protocol", [NoMessage, TwoMessages])
def test_a_contract_of_another_shape_is_a_bug(protocol: type) -> None:
    with pytest.raises(Broken, match="plain"):
        verbs(protocol)


def test_docstrings_do_not_count_and_fields_do() -> None:
    class Word(Value):
        """Other prose."""

        word: str

    class Same(Protocol):
        async def say(self, request: Word, /) -> Word: ...

    class Longer(Value):
        word: str
        description: str

    class Other(Protocol):
        async def say(self, request: Longer, /) -> Word: ...

    globals().update(Word=Word, Longer=Longer)
    with_prose = fingerprint(Same)
    Word.__doc__ = None
    assert len({with_prose, fingerprint(Same), fingerprint(Other)}) == 2


@given(st.binary())
def test_console_bytes_survive_the_wire(data: bytes) -> None:
    message = ConsoleData.model_construct(data=data)
    assert decode(ConsoleData, encode(message)).data == data


@given(st.binary())
def test_garbage_is_invalid_and_nothing_else(data: bytes) -> None:
    with pytest.raises(Invalid):
        decode(Word, b"\x00" + data)


def test_the_wrong_field_is_named() -> None:
    with pytest.raises(Invalid, match="word"):
        decode(Word, b'{"word": 7}')


@pytest.mark.parametrize("kind", list(KINDS.values()))
def test_errors_survive_the_wire(kind: type[GodwitError]) -> None:
    error = decode_error(encode_error(kind("größer ✈", "a-code")))
    assert (type(error), error.message, error.code) == (kind, "größer ✈", "a-code")


def test_long_errors_fit_into_metadata() -> None:
    data = encode_error(Failed("✈" * 100_000))
    assert len(data) < 7_000
    assert decode_error(data).message.endswith("…")


@pytest.mark.parametrize("data", [b"", b"[]", b"{}", b"\xff", b'{"kind": 1}'])
def test_unreadable_errors_are_failed(data: bytes) -> None:
    assert type(decode_error(data)) is Failed


def test_kinds_of_a_newer_peer_are_failed() -> None:
    assert type(decode_error(encode_error(NotFound("x")).replace(b"not-found", b"brand-new"))) is Failed

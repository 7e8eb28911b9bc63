"""Whatever bytes come to an agent's door, it answers with a reason, and goes on answering."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from godwit.contract.host import Host, Nothing, StartVm
from godwit.core.config import Tls
from godwit.core.errors import GodwitError
from godwit.rpc.remote import Connection, connect
from godwit.rpc.serve import serve
from godwit.rpc.transport import grpc
from godwit.rpc.wire import ERROR_KEY, VERSION_KEY, WIRE_VERSION, Verb, decode, decode_error, method, verbs
from godwit.testing.hosts import FakeHost
from godwit.testing.world import PINNED, SPEC, World

Ask = Callable[[str, bytes], Awaitable[GodwitError | None]]

ANSWER_S = 60
EXAMPLES = 60

WORDS = {
    "vm": "web-1",
    "migration": "m1",
    "attempt": 1,
    "epoch": 1,
    "name": "web-1",
    "memory_mib": 256,
    "role": "destination",
    "source": "host-a",
    "destination": "host-b",
    "grace_s": 0,
    "spec": SPEC.model_dump(mode="json"),
    "pinned": PINNED.model_dump(mode="json"),
    "uri": "tcp:192.0.2.1:1",
    "multifd": True,
    "max_blackout_ms": 300,
    "peer_address": "192.0.2.1:7411",
}
"""Right words for most fields of most messages; those that are fuzzed take their place."""

ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)
ALL = sorted(verbs(Host))


def messages(verb: str) -> st.SearchStrategy[bytes]:
    """Bytes, JSON, and messages of the right shape in which some fields are wrong."""
    fields = list(verbs(Host)[verb].request.model_fields)
    right = {name: WORDS[name] for name in fields if name in WORDS}
    wrong = (
        st.dictionaries(st.sampled_from(fields) | st.text(max_size=8), ANYTHING, max_size=2) if fields else st.just({})
    )
    return st.binary(max_size=200) | ANYTHING.map(_bytes) | wrong.map(lambda these: _bytes(right | these))


def _bytes(value: object) -> bytes:
    return json.dumps(value).encode(errors="replace")


@asynccontextmanager
async def door(host: FakeHost, tls: Tls, manager: Tls) -> AsyncIterator[tuple[Ask, Connection[Host]]]:
    """An agent's door with that host behind it, and a way to send bytes there."""
    async with serve({Host: (host, frozenset({"manager"}))}, listen=["127.0.0.1:0"], tls=tls) as listening:
        connection = connect(Host, address=f"127.0.0.1:{listening.ports[0]}", name="host-a", tls=manager)
        try:
            yield lambda verb, data: _send(connection._line.channel, verb, data), connection
        finally:
            await connection.close()


async def _send(channel: Any, verb: str, data: bytes) -> GodwitError | None:
    """The error that these bytes are answered with; none: they were an order."""
    told = verbs(Host)[verb]
    metadata = ((VERSION_KEY, str(WIRE_VERSION)),)
    name = method(Host, told)
    try:
        async with asyncio.timeout(ANSWER_S):
            if told.responses_stream:
                make = channel.stream_stream if told.requests_stream else channel.unary_stream
                call = make(name)([data] if told.requests_stream else data, metadata=metadata)
                reading = asyncio.create_task(_first(call))
                is_endless = verb == "watch" and _is_message(told, data)  # by contract: what is none gets an answer
                await asyncio.wait({reading}, timeout=0.2 if is_endless else None)
                call.cancel()
                await reading
            else:
                await channel.unary_unary(name)(data, metadata=metadata)
    except grpc.aio.AioRpcError as error:
        trailing: Mapping[str, Any] = dict(error.trailing_metadata() or ())
        if ERROR_KEY not in trailing:
            raise AssertionError(f"{verb} broke outside of our hands: {error.code()} {error.details()}") from error
        return decode_error(trailing[ERROR_KEY])
    return None


def _is_message(verb: Verb, data: bytes) -> bool:
    try:
        decode(verb.request, data)
    except GodwitError:
        return False
    return True


async def _first(call: Any) -> None:
    try:
        async for _ in call:
            return
    except asyncio.CancelledError:
        return


@pytest.mark.parametrize("verb", ALL)
def test_no_bytes_break_a_verb(verb: str, host_a_tls: Tls, manager_tls: Tls, caplog: pytest.LogCaptureFixture) -> None:
    """Neither with nor without a VM there."""

    @settings(
        derandomize=True, max_examples=EXAMPLES, deadline=None, database=None, suppress_health_check=list(HealthCheck)
    )
    @given(data=messages(verb), is_there=st.booleans())
    def send(data: bytes, is_there: bool) -> None:
        asyncio.run(told(data, is_there))

    async def told(data: bytes, is_there: bool) -> None:
        world = World()
        async with door(world.source, host_a_tls, manager_tls) as (ask, connection):
            if is_there:
                await world.source.start_vm(StartVm(spec=SPEC, pinned=PINNED))
            error = await ask(verb, data)
            assert error is None or error.kind != "broken", error.message
            assert (await connection.verbs.facts(Nothing())).host == "host-a"

    send()
    assert [each.getMessage() for each in caplog.records if each.levelno >= logging.ERROR] == []


@pytest.mark.parametrize("verb", ALL)
def test_what_is_no_message_is_invalid(verb: str, host_a_tls: Tls, manager_tls: Tls) -> None:
    async def told() -> list[str]:
        async with door(World().source, host_a_tls, manager_tls) as (ask, _):
            answers = [await ask(verb, data) for data in (b"", b"\xff\xfe", b"[]", b"null", b"{", b'{"x": 1}')]
            return [error.kind if error else "done" for error in answers]

    assert asyncio.run(told()) == ["invalid"] * 6

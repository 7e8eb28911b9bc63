"""The asking side of the wire: an object that implements a contract by asking another host."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from types import SimpleNamespace, TracebackType
from typing import Any, Generic, TypeVar, cast

from pydantic import BaseModel

from godwit.core.config import Tls
from godwit.core.errors import GodwitError, Invalid, Refused, TimedOut, Unreachable
from godwit.rpc.transport import CHANNEL_OPTIONS, credentials_of_channel, grpc
from godwit.rpc.wire import ERROR_KEY, VERSION_KEY, WIRE_VERSION, Verb, decode, decode_error, encode, method, verbs

Contract = TypeVar("Contract")

LONG_VERBS = frozenset(
    {
        *("start_vm", "prepare_incoming", "lay_relay", "prepare_outgoing", "hand_over", "go", "retire", "settle"),
        *("abort_incoming", "abort_outgoing", "release", "serve_disks", "discard_disks", "keep_disks"),
    }
)
"""Verbs that may rightly take longer than an answer from memory does: a program starts or ends, or is waited for."""
LONG_TIMEOUT_S = 120.0
LONGEST_S = {
    "create_disk": 3600.0,
    "stop_vm": 660.0,
    "place_disks": 3600.0,
    "finish_disks": 60.0,
    "digest_disks": 14 * 24 * 3600.0,
    "end_mirror": 60.0,
    "measure": 30.0,
    "tell_guest": 660.0,
}
"""For a disk image that is copied or filled, for disks that are read from end to end, which the phase has a deadline
for, and for a guest that is given ten minutes to switch off."""

_METADATA = ((VERSION_KEY, str(WIRE_VERSION)),)


@dataclass(frozen=True)
class Line:
    """A channel to one host's agent and what its errors shall say."""

    channel: grpc.aio.Channel
    name: str
    address: str
    timeout_s: float

    def timeout_of(self, verb: Verb) -> float:
        """How long that order may take, seconds."""
        long_s = LONG_TIMEOUT_S if verb.name in LONG_VERBS else 0.0
        return max(self.timeout_s, LONGEST_S.get(verb.name, long_s))


class Connection(Generic[Contract]):
    """A line to one agent: connects at the first call, and again after it broke, until closed."""

    def __init__(self, verbs: Contract, line: Line) -> None:
        self.verbs = verbs
        self._line = line

    async def close(self) -> None:
        """Nothing of it is left; calls under way end with `Unreachable`."""
        await self._line.channel.close()

    async def __aenter__(self) -> Contract:
        return self.verbs

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()


def connect(
    protocol: Callable[..., Contract], *, address: str, name: str, tls: Tls, timeout_s: float = 10.0
) -> Connection[Contract]:
    """A connection of its own to the agent of host `name` at `address:port`, made at the first call.

    Whoever answers must hold that host's certificate. `timeout_s` bounds each order (LONG_VERBS: at least 120 s), not
    streams. `Failed` if our own certificates cannot be read. Enter it as a context to get the verbs and have it closed.
    """
    options = (*CHANNEL_OPTIONS, ("grpc.ssl_target_name_override", f"{name}.agent.godwit"))
    channel = grpc.aio.secure_channel(address, credentials_of_channel(tls), options=options)
    line = Line(channel, name, address, timeout_s)
    return Connection(remote(protocol, line), line)


def remote(protocol: Callable[..., Contract], line: Line) -> Contract:
    """An object that implements the protocol by asking over the line.

    Orders raise what the other side raised; `Unreachable`: it may or may not have been carried out; `TimedOut`: no
    answer within the line's time, and again nothing is known. Streams raise `Unreachable` when the line breaks.
    """
    contract = cast(type, protocol)
    asked = {
        name: (_stream if verb.responses_stream else _order)(line, contract, verb)
        for name, verb in verbs(contract).items()
    }
    return cast(Contract, SimpleNamespace(**asked))


def _order(line: Line, contract: type, verb: Verb) -> Any:
    make = line.channel.stream_unary if verb.requests_stream else line.channel.unary_unary
    call: Any = make(method(contract, verb))

    async def ask(request: Any, /) -> BaseModel:
        outgoing = _Outgoing(request) if verb.requests_stream else encode(request)
        try:
            data = await call(outgoing, timeout=line.timeout_of(verb), metadata=_METADATA)
        except (grpc.aio.AioRpcError, grpc.aio.UsageError, asyncio.CancelledError) as error:
            raise _meaning(error, line, outgoing) from error
        return decode(verb.response, data)

    return ask


def _stream(line: Line, contract: type, verb: Verb) -> Any:
    make = line.channel.stream_stream if verb.requests_stream else line.channel.unary_stream
    call: Any = make(method(contract, verb))

    async def ask(request: Any, /) -> AsyncIterator[BaseModel]:
        outgoing = _Outgoing(request) if verb.requests_stream else encode(request)
        answers = None
        try:
            answers = call(outgoing, metadata=_METADATA)
            async for data in answers:
                yield decode(verb.response, data)
        except (grpc.aio.AioRpcError, grpc.aio.UsageError, asyncio.CancelledError) as error:
            raise _meaning(error, line, outgoing) from error
        finally:
            if answers is not None:
                answers.cancel()

    return ask


class _Outgoing:
    """Messages on their way out; remembers why their source ended, because gRPC only says that it did."""

    def __init__(self, messages: AsyncIterator[BaseModel]) -> None:
        self._messages = messages
        self.error: Exception | None = None

    async def __aiter__(self) -> AsyncIterator[bytes]:
        try:
            async for message in self._messages:
                yield encode(message)
        except Exception as error:
            self.error = error
            raise


def _meaning(error: BaseException, line: Line, outgoing: _Outgoing | bytes) -> BaseException:
    """What the caller shall see of an error of gRPC's."""
    if isinstance(outgoing, _Outgoing) and outgoing.error is not None:
        return outgoing.error
    who = f"{line.name}'s agent at {line.address}"
    if isinstance(error, asyncio.CancelledError):
        task = asyncio.current_task()
        if task is not None and task.cancelling():
            return error
        return Unreachable(f"the connection to {who} was closed here while it was being asked; ask again")
    if isinstance(error, grpc.aio.AioRpcError):
        return _status(error, who, line.name)
    return Unreachable(f"the connection to {who} is closed here; open another")


def _reason(detail: str) -> str:
    """What a person can use of gRPC's words: not to which address in which of its states, which is said already."""
    return re.sub(r".*(?:Failed to connect to remote host|last error: [A-Z]+): *(?:ipv[46]:\S+: *)?", "", detail)


def _status(error: grpc.aio.AioRpcError, who: str, name: str) -> GodwitError:
    told = dict(error.trailing_metadata() or ()).get(ERROR_KEY)
    if told is not None:
        return decode_error(cast(bytes, told))
    code, detail = error.code(), json.dumps(error.details() or "")[1:-1][:300]
    if code is grpc.StatusCode.DEADLINE_EXCEEDED:
        text = f"{who} did not answer in time; look at `systemctl status godwit-agent` there, then ask again"
        return TimedOut(text, "no-answer")
    if code is grpc.StatusCode.RESOURCE_EXHAUSTED:
        return Invalid(f"a message to or from {who} is too large: {detail}")
    if code is grpc.StatusCode.UNIMPLEMENTED:
        return Refused(f"{who} does not know this order: install the same godwit on both", "wire-version")
    if any(sign in detail for sign in ("CERTIFICATE", "Hostname Verification", "handshake", "Peer name")):
        return Unreachable(
            f"the certificates of {who} and of this one do not match ({detail}): issue {name}'s again with "
            f"`godwit pki issue` from the authority that both trust",
            "certificate",
        )
    return Unreachable(
        f"{who} does not answer: {_reason(detail)}; start it (systemctl start godwit-agent) or check the network"
    )

"""The answering side of the wire: objects that implement contracts, behind mutual TLS."""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import AsyncIterator, Coroutine, Iterator, Mapping, Sequence
from contextlib import aclosing, asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from typing import Any, cast

from pydantic import BaseModel

from godwit.core.config import Tls
from godwit.core.errors import Broken, Failed, GodwitError, Refused, Unreachable
from godwit.rpc.transport import SERVER_OPTIONS, common_name, credentials_of_server, grpc, untyped
from godwit.rpc.wire import (
    ERROR_KEY,
    VERSION_KEY,
    WIRE_VERSION,
    Verb,
    decode,
    encode,
    encode_error,
    service,
    verbs,
)

log = logging.getLogger("godwit.rpc")

Services = Mapping[type, tuple[object, frozenset[str]]]
"""By contract: the object that implements it, and the roles (`manager`, `agent`) that may call it."""

STOP_GRACE_S = 2.0

Context = grpc.aio.ServicerContext[Any, Any]


@dataclass(frozen=True)
class Listening:
    """A running server."""

    ports: tuple[int, ...]
    """One for each address asked for, in that order."""


@asynccontextmanager
async def serve(services: Services, *, listen: Sequence[str], tls: Tls) -> AsyncIterator[Listening]:
    """Inside, each contract is answered at each `address:port` (port 0: any); `Failed` if one cannot be bound.

    An order (one message in, one out) that has arrived is carried out to its end even if the caller goes away; a
    stream is closed when its caller goes. On leaving, streams end with `Unreachable` at their callers; orders get two
    seconds and are then cancelled.
    """
    door = _Door(common_name(tls).removeprefix("agent."))
    server = grpc.aio.server(options=SERVER_OPTIONS)
    for protocol, (servant, roles) in services.items():
        handlers = {name: _handler(door, verb, getattr(servant, name), roles) for name, verb in verbs(protocol).items()}
        server.add_generic_rpc_handlers((untyped.method_handlers_generic_handler(service(protocol), handlers),))
    credentials = credentials_of_server(tls)
    try:
        ports = tuple(_bind(server, address, credentials) for address in listen)
        await server.start()
        yield Listening(ports)
    finally:
        await door.close(server)


@dataclass
class _Door:
    """What all calls have in common: who we are, and what is under way."""

    host: str
    orders: set[asyncio.Task[BaseModel]] = field(default_factory=set)
    streams: set[asyncio.Task[Any]] = field(default_factory=set)
    closing: bool = False

    def admit(self, context: Context, roles: frozenset[str]) -> None:
        """Returns if the caller speaks our version and has a role that may; `Refused` otherwise."""
        theirs = dict(context.invocation_metadata() or ()).get(VERSION_KEY, "none")
        if theirs != str(WIRE_VERSION):
            raise Refused(
                f"{self.host} speaks version {WIRE_VERSION} of godwit's wire and its caller version {theirs!s:.20}: "
                "install the same godwit on both",
                "wire-version",
            )
        name = _caller(context)
        if name.split(".")[0] not in roles:
            raise Refused(
                f"{self.host} does not take this order from {name:.80}: only from {' or '.join(sorted(roles))}; "
                "use that one's certificate",
                "role",
            )

    async def carry_out(self, order: Coroutine[Any, Any, BaseModel]) -> BaseModel:
        """What the order gives; it goes on when the one who waits for it is cancelled."""
        task = asyncio.create_task(order)
        self.orders.add(task)
        task.add_done_callback(self.orders.discard)
        return await asyncio.shield(task)

    @contextmanager
    def streaming(self) -> Iterator[None]:
        """The caller of the stream that this task answers is told when the server stops."""
        task = cast("asyncio.Task[Any]", asyncio.current_task())
        self.streams.add(task)
        try:
            yield
        except asyncio.CancelledError:
            if not self.closing:
                raise
            task.uncancel()
            raise Unreachable(f"{self.host} stops answering: its agent is being stopped; start it again") from None
        finally:
            self.streams.discard(task)

    async def close(self, server: grpc.aio.Server) -> None:
        """No call is under way: streams ended at once, orders got their grace and were cancelled then."""
        self.closing = True
        for stream in self.streams:
            stream.cancel()
        await server.stop(STOP_GRACE_S)
        for order in self.orders:
            order.cancel()
        await asyncio.gather(*self.orders, return_exceptions=True)


def _handler(door: _Door, verb: Verb, method: Any, roles: frozenset[str]) -> Any:
    def message(request: Any) -> Any:
        return _incoming(verb, request) if verb.requests_stream else decode(verb.request, request)

    async def order(request: Any, context: Context) -> bytes:
        async with _errors_told(context, verb):
            door.admit(context, roles)
            return encode(await door.carry_out(method(message(request))))
        raise AssertionError  # aborting a call raises

    async def stream(request: Any, context: Context) -> None:
        async with _errors_told(context, verb):
            door.admit(context, roles)
            with door.streaming():
                async with aclosing(method(message(request))) as messages:
                    async for each in messages:
                        await _write(context, encode(each))

    return _MAKERS[verb.requests_stream, verb.responses_stream](stream if verb.responses_stream else order)


_MAKERS = {
    (False, False): untyped.unary_unary_rpc_method_handler,
    (False, True): untyped.unary_stream_rpc_method_handler,
    (True, False): untyped.stream_unary_rpc_method_handler,
    (True, True): untyped.stream_stream_rpc_method_handler,
}


async def _write(context: Context, data: bytes) -> None:
    """Written, even if cancelled meanwhile: gRPC takes no status for a call while it is still writing a message."""
    writing = asyncio.ensure_future(context.write(data))
    try:
        await asyncio.shield(writing)
    except asyncio.CancelledError:
        await asyncio.gather(writing, return_exceptions=True)
        raise


async def _incoming(verb: Verb, requests: AsyncIterator[bytes]) -> AsyncIterator[BaseModel]:
    async for data in requests:
        yield decode(verb.request, data)


@asynccontextmanager
async def _errors_told(context: Context, verb: Verb) -> AsyncIterator[None]:
    try:
        yield
    except GodwitError as error:
        told = error
    except Exception:
        log.exception("%s broke", verb.name)
        told = Broken(f"{verb.name} met a bug in its host's agent; see the agent's log there and report it")
    else:
        return
    await context.abort(grpc.StatusCode.ABORTED, told.kind, ((ERROR_KEY, encode_error(told)),))


def _caller(context: Context) -> str:
    names = list((context.auth_context() or {}).get("x509_common_name", ()))
    return names[0].decode(errors="replace") if names else "a caller without a certificate"


def _bind(server: grpc.aio.Server, address: str, credentials: grpc.ServerCredentials) -> int:
    try:
        return int(server.add_secure_port(address, credentials))
    except RuntimeError as error:
        raise Failed(f"cannot listen on {address}: {_why_not(address)}", "listen") from error


def _why_not(address: str) -> str:
    host, _, port = address.rpartition(":")
    family = socket.AF_INET6 if host.startswith("[") else socket.AF_INET
    try:
        with socket.socket(family, socket.SOCK_STREAM) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind((host.strip("[]"), int(port)))
            probe.listen()
    except (OSError, OverflowError) as error:
        return f"{error}; `ss -ltnp sport = :{port}` names who has the port, `ip address` this host's addresses"
    return "gRPC gave no reason; try again"

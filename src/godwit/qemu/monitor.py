"""One QMP connection whose end is loud: whoever waits for an event learns that the connection died."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from socket import socket
from typing import Any, cast

from qemu.qmp import ConnectError, ExecInterruptedError, ExecuteError, QMPClient, Runstate, StateError
from qemu.qmp.events import EventListener
from qemu.qmp.message import Message

from godwit.core.errors import Failed, TimedOut, Unreachable

_SILENT = logging.getLogger("godwit.qemu.monitor")
_SILENT.propagate = False
_SILENT.addHandler(logging.NullHandler())
"""The library logs what we raise."""


@dataclass(frozen=True)
class QmpEvent:
    """Something that QEMU said unasked."""

    name: str
    data: dict[str, Any]
    at_ms: float
    """Unix time by QEMU's host."""


def parse_event(message: Mapping[str, Any]) -> QmpEvent:
    """The event that QEMU's message describes."""
    stamp = message["timestamp"]
    at_ms = stamp["seconds"] * 1000 + stamp["microseconds"] / 1000
    return QmpEvent(message["event"], message.get("data", {}), at_ms)


class Listening:
    """Every event since it was opened, in order; raises `Unreachable` when the connection ends."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._arrived: asyncio.Queue[QmpEvent | None] = asyncio.Queue()

    def __aiter__(self) -> AsyncIterator[QmpEvent]:
        return self

    async def __anext__(self) -> QmpEvent:
        """The next event; never `StopAsyncIteration`: the ways out of a loop are `break` and `Unreachable`."""
        event = await self._arrived.get()
        if event is None:
            self._arrived.put_nowait(None)
            raise _lost(self._path)
        return event

    def put(self, event: QmpEvent | None) -> None:
        """Tells the listener of an event, or (none) that no more will come."""
        self._arrived.put_nowait(event)

    async def wait_for(self, is_it: Callable[[QmpEvent], bool], *, timeout_s: float) -> QmpEvent:
        """The first event that satisfies `is_it`; those before it are consumed. `TimedOut` if none came in time."""
        try:
            async with asyncio.timeout(timeout_s):
                while not is_it(event := await anext(self)):
                    pass
        except TimeoutError as error:
            raise TimedOut(f"QEMU at {self._path} did not report what was awaited within {timeout_s:g} s") from error
        return event


class _Forward(EventListener):
    """Hands each event on in the very call in which the library delivers it, and keeps none."""

    def __init__(self, deliver: Callable[[QmpEvent], None]) -> None:
        super().__init__()
        self._deliver = deliver

    async def put(self, event: Message) -> None:
        """Called by the library for each event."""
        self._deliver(parse_event(cast(Mapping[str, Any], event)))


class _Client(QMPClient):
    """The library's client without its per-message formatting of log lines."""

    def __init__(self) -> None:
        super().__init__()
        self.logger = _SILENT
        self.events.event_filter = lambda _event: False  # nobody empties this default queue

    def _cb_inbound(self, msg: Message) -> Message:
        return msg

    def _cb_outbound(self, msg: Message) -> Message:
        return msg


class Monitor:
    """A QMP client. Commands may be sent concurrently; each listener gets each event."""

    def __init__(self, client: QMPClient, path: str) -> None:
        """Use `connect`."""
        self._client = client
        self._path = path
        self._listeners: set[Listening] = set()
        client.register_listener(_Forward(self._deliver))
        self.closed: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        """Done when the connection has ended, whoever ended it."""
        self._running = asyncio.create_task(self._run())
        self._watch = asyncio.create_task(self._end())

    @classmethod
    async def connect(cls, address: Path | socket) -> Monitor:
        """Greeted and negotiated, out-of-band commands on; `Unreachable` if nobody answers there."""
        client = _Client()
        path = str(address) if isinstance(address, Path) else "its own socket"
        try:
            await client.connect(str(address) if isinstance(address, Path) else address)
        except ConnectError as error:
            raise Unreachable(f"QEMU does not answer at {path}: see qemu.log and keeper.log there") from error
        return cls(client, path)

    @classmethod
    def dead(cls, path: Path) -> Monitor:
        """A connection that has ended before it began."""
        monitor = cls(_Client(), str(path))
        monitor.closed.set_result(None)
        return monitor

    async def execute(self, command: str, arguments: Mapping[str, object] | None = None, /, **more: object) -> Any:
        """What QEMU returned. `Failed` with QEMU's own words if it refused; `Unreachable` if the answer was lost."""
        return await self._execute(command, {**(arguments or {}), **more}, is_oob=False)

    async def execute_oob(self, command: str, arguments: Mapping[str, object] | None = None, /, **more: object) -> Any:
        """As `execute`, but answered even while QEMU's main loop is stuck; few commands can."""
        return await self._execute(command, {**(arguments or {}), **more}, is_oob=True)

    @contextlib.contextmanager
    def listening(self) -> Iterator[Listening]:
        """A listener that is armed before the block begins: open it before the command whose effect is awaited."""
        listening = Listening(self._path)
        if self.closed.done():
            listening.put(None)
        self._listeners.add(listening)
        try:
            yield listening
        finally:
            self._listeners.discard(listening)

    async def events(self) -> AsyncIterator[QmpEvent]:
        """Events from the first `anext` on; raises `Unreachable` when the connection ends."""
        with self.listening() as listening:
            async for event in listening:
                yield event

    async def wait_for(self, is_it: Callable[[QmpEvent], bool], *, timeout_s: float) -> QmpEvent:
        """The first event from now on that satisfies `is_it`."""
        with self.listening() as listening:
            return await listening.wait_for(is_it, timeout_s=timeout_s)

    async def close(self) -> None:
        """The connection has ended; closing twice is harmless."""
        self._running.cancel()
        await asyncio.shield(self._watch)

    async def _execute(self, command: str, arguments: Mapping[str, object], *, is_oob: bool) -> Any:
        try:
            return await self._client.execute(command, arguments, oob=is_oob)
        except ExecuteError as error:
            raise Failed(f"QEMU refused {command}: {error.error.error.desc}", error.error_class) from error
        except (ExecInterruptedError, StateError) as error:
            await asyncio.wait([self.closed])  # that is told a moment later, and by whoever looks, not before us
            raise _lost(self._path) from error

    def _deliver(self, event: QmpEvent | None) -> None:
        for listening in self._listeners:
            listening.put(event)

    async def _run(self) -> None:
        while self._client.runstate is Runstate.RUNNING:
            await self._client.runstate_changed()

    async def _end(self) -> None:
        await asyncio.wait([self._running])
        with contextlib.suppress(Exception):  # the reason is of no use: whatever it was, the connection is gone
            await self._client.disconnect()
        if not self.closed.done():  # somebody's timeout may have cancelled it
            self.closed.set_result(None)
        self._deliver(None)


def _lost(path: str) -> Unreachable:
    return Unreachable(f"the connection to QEMU at {path} ended: ask again what it does, then go on")

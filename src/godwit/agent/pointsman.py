"""Throws the points at STOP: a thread of its own with a QMP connection of its own, which nothing else can delay."""

from __future__ import annotations

import asyncio
import json
import selectors
import socket
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from godwit.core.errors import Failed, GodwitError
from godwit.network.relay import Turnout

_CONNECT_S = 5.0
_CHUNK_BYTES = 65536


class Pointsman(threading.Thread):
    """Reads QEMU's second monitor and the captures; at STOP it turns every card's frames to the destination, and at
    RESUME (a source that resumed) back.
    """

    def __init__(self, qmp: socket.socket, turnouts: list[Turnout], told: Callable[[], None], *, is_late: bool) -> None:
        super().__init__(name="pointsman", daemon=True)
        self._turnouts = turnouts
        self._told = told
        self._loop = asyncio.get_running_loop()
        self._qmp, self._is_late = qmp, is_late
        self._buffer = b""
        self._wake, self._woken = socket.socketpair()
        self.error: GodwitError | OSError | None = None

    @classmethod
    async def at(cls, monitor: Path, turnouts: list[Turnout], told: Callable[[], None]) -> Pointsman:
        """One that has looked how things stand, to be started; `Failed` if that monitor does not answer."""
        qmp, is_late = await asyncio.to_thread(_connected, monitor)
        return cls(qmp, turnouts, told, is_late=is_late)

    def run(self) -> None:
        """Until `end`, or QEMU's end. If we come late, a VM that stands still is turned at once, and one that was
        turned and runs here again is turned back.
        """
        if self._is_late:
            self._turn(time.time() * 1000)
        elif any(each.turned for each in self._turnouts):
            self._turn_back()
        with selectors.DefaultSelector() as selector:
            selector.register(self._qmp, selectors.EVENT_READ, self._hear)
            selector.register(self._woken, selectors.EVENT_READ, None)
            for each in self._turnouts:
                selector.register(each.capture, selectors.EVENT_READ, each.capture.read)
            going_on = True
            while going_on:
                for key, _ in sorted(selector.select(), key=lambda ready: ready[0].fileobj is not self._qmp):
                    going_on = key.data is not None and key.data() is not False
                    if not going_on:
                        break

    def end(self) -> None:
        """The thread is over."""
        self._wake.send(b"x")
        self.join()
        for each in (self._qmp, self._wake, self._woken):
            each.close()

    def _hear(self) -> bool:
        """False at the connection's end."""
        data = self._qmp.recv(_CHUNK_BYTES)
        *lines, self._buffer = (self._buffer + data).split(b"\n")
        for line in lines:
            if line.strip():
                self._heed(json.loads(line))
        return bool(data)

    def _heed(self, message: dict[str, Any]) -> None:
        if message.get("event") == "STOP":
            stamp = message["timestamp"]
            self._turn(stamp["seconds"] * 1000 + stamp["microseconds"] / 1000)
        elif message.get("event") == "RESUME":
            self._turn_back()

    def _turn(self, stopped_at_ms: float) -> None:
        self._for_each(lambda each: each.set_aside())
        self._for_each(lambda each: each.turn(stopped_at_ms))
        self._loop.call_soon_threadsafe(self._told)

    def _turn_back(self) -> None:
        self._for_each(lambda each: each.turn_back())

    def _for_each(self, do: Callable[[Turnout], object]) -> None:
        """Of every card, whatever becomes of another; the last error is kept."""
        for each in self._turnouts:
            try:
                do(each)
            except (GodwitError, OSError) as error:
                self.error = error


def _connected(monitor: Path) -> tuple[socket.socket, bool]:
    """Greeted and negotiated, and whether the VM stands still; blocks for as long as QEMU's main loop takes."""
    connection = socket.socket(socket.AF_UNIX)
    connection.settimeout(_CONNECT_S)
    try:
        connection.connect(str(monitor))
        lines = connection.makefile("rwb", buffering=0)
        lines.readline()
        _asked(lines, "qmp_capabilities")
        status = _asked(lines, "query-status")
    except (OSError, ValueError) as error:
        connection.close()
        raise Failed(f"QEMU's second monitor at {monitor} does not answer ({error}): who else uses it?") from error
    connection.settimeout(None)
    return connection, not status["running"]


def _asked(lines: Any, command: str) -> dict[str, Any]:
    """What QEMU returns; events before that tell nothing that its status does not."""
    lines.write(json.dumps({"execute": command}).encode() + b"\n")
    while "return" not in (answer := json.loads(lines.readline())):
        pass
    returned: dict[str, Any] = answer["return"]
    return returned

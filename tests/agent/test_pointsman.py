"""Who throws the points looks first how things stand: STOP or RESUME may have come before it did."""

from __future__ import annotations

import asyncio
import errno
import json
import socket
import threading
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from godwit.agent.pointsman import Pointsman
from godwit.core.errors import Failed
from godwit.network.relay import Turnout

STAMP = {"seconds": 1000, "microseconds": 500_000}


class Qemu(threading.Thread):
    """The second monitor of a QEMU that runs or stands still, and then tells what it is told to tell."""

    def __init__(self, path: Path, *, running: bool, then: tuple[str, ...]) -> None:
        super().__init__(daemon=True)
        self.may_answer = threading.Event()
        self._running = running
        self._then = then
        self._server = socket.socket(socket.AF_UNIX)
        self._server.bind(str(path))
        self._server.listen()

    def run(self) -> None:
        with self._server, self._server.accept()[0] as connection, connection.makefile("rwb", buffering=0) as lines:
            self.may_answer.wait()
            lines.write(b'{"QMP": {}}\n')
            for answer in ({}, {"running": self._running}):
                lines.readline()
                lines.write(json.dumps({"return": answer}).encode() + b"\n")
            for event in self._then:
                lines.write(json.dumps({"event": event, "timestamp": STAMP}).encode() + b"\n")


class Points:
    """Stands for a card's."""

    def __init__(self, *, turned: bool, broken: Exception | None = None) -> None:
        self.turned = turned
        self._broken = broken
        self.thrown: list[str] = []
        silent, self._other = socket.socketpair()
        self.capture = SimpleNamespace(fileno=silent.fileno, read=lambda: None, own=silent)

    def set_aside(self) -> None:
        if self._broken:
            raise self._broken
        self.thrown.append("aside")

    def turn(self, _: float) -> None:
        if self._broken:
            raise self._broken
        self.thrown.append("on")

    def turn_back(self) -> None:
        self.thrown.append("back")

    def close(self) -> None:
        self.capture.own.close()
        self._other.close()


@pytest.mark.parametrize(
    ("running", "turned", "then", "thrown"),
    [
        (True, False, (), []),
        (True, False, ("STOP",), ["aside", "on"]),
        (True, False, ("STOP", "RESUME"), ["aside", "on", "back"]),
        (False, False, (), ["aside", "on"]),
        (False, True, ("RESUME",), ["aside", "on", "back"]),
        (True, True, (), ["back"]),
    ],
)
def test_the_points_are_as_the_vm_is(
    tmp_path: Path, running: bool, turned: bool, then: tuple[str, ...], thrown: list[str]
) -> None:
    points = Points(turned=turned)

    assert watched(tmp_path, points, running=running, then=then) is None
    assert points.thrown == thrown


@pytest.mark.parametrize("error", [Failed("the kernel refuses"), OSError(errno.ENETDOWN, "Network is down")])
def test_a_card_whose_points_are_stuck_holds_up_no_other(tmp_path: Path, error: Exception) -> None:
    stuck, other = Points(turned=False, broken=error), Points(turned=False)

    assert watched(tmp_path, stuck, other, running=True, then=("STOP", "RESUME")) is error
    assert (stuck.thrown, other.thrown) == (["back"], ["aside", "on", "back"])


def watched(directory: Path, *points: Points, running: bool, then: tuple[str, ...]) -> Exception | None:
    """The error of one who watched such a QEMU until its end; whose loop went on while it waited for QEMU's word."""
    qemu = Qemu(directory / "events.sock", running=running, then=then)
    qemu.start()

    async def watch() -> Exception | None:
        turnouts: Any = list(points)
        asyncio.get_running_loop().call_soon(qemu.may_answer.set)
        pointsman = await Pointsman.at(directory / "events.sock", cast("list[Turnout]", turnouts), lambda: None)
        pointsman.start()
        await asyncio.to_thread(pointsman.join)  # it ends with QEMU
        pointsman.end()
        return pointsman.error

    try:
        return asyncio.run(watch())
    finally:
        for each in points:
            each.close()

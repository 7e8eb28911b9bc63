"""The monitor against a small QMP server: replies, refusals, events for every listener, and a loud end."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from godwit.core.errors import Failed, TimedOut, Unreachable
from godwit.qemu.monitor import Monitor, QmpEvent

pytestmark = pytest.mark.anyio

STOP = {"event": "STOP", "timestamp": {"seconds": 7, "microseconds": 500}}
GREETING = {"QMP": {"version": {"qemu": {"major": 7, "minor": 2, "micro": 0}, "package": ""}, "capabilities": ["oob"]}}


class Server:
    """Answers `echo` with its arguments, `refuse` with an error, `hang` never; speaks its lines to one client."""

    def __init__(self) -> None:
        self.writer: asyncio.StreamWriter | None = None
        self.seen: list[dict[str, Any]] = []

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.writer = writer
        self.say(GREETING)
        decoder = json.JSONDecoder()
        text = ""
        while data := await reader.read(65536):
            text += data.decode()
            while text:
                request, end = decoder.raw_decode(text)
                text = text[end:]
                self.obey(request)
        writer.close()

    def obey(self, request: dict[str, Any]) -> None:
        self.seen.append(request)
        command = request.get("execute") or request["exec-oob"]
        if command == "refuse":
            self.say({"error": {"class": "GenericError", "desc": "not today"}, "id": request["id"]})
        elif command != "hang":
            answer = {} if command == "qmp_capabilities" else request["arguments"]
            self.say({"return": answer, **({"id": request["id"]} if "id" in request else {})})

    def say(self, *messages: dict[str, Any]) -> None:
        assert self.writer is not None
        self.writer.write(b"".join(json.dumps(each).encode() + b"\r\n" for each in messages))

    def hang_up(self) -> None:
        assert self.writer is not None
        self.writer.close()


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[Server]:
    server = Server()
    listening = await asyncio.start_unix_server(server.serve, tmp_path / "qmp")
    yield server
    listening.close()
    await listening.wait_closed()


@pytest.fixture
async def monitor(server: Server, tmp_path: Path) -> AsyncIterator[Monitor]:
    monitor = await Monitor.connect(tmp_path / "qmp")
    yield monitor
    await monitor.close()


async def test_out_of_band_is_negotiated(monitor: Monitor, server: Server) -> None:
    assert server.seen[0]["arguments"] == {"enable": ["oob"]}


async def test_a_command_returns_what_was_answered(monitor: Monitor) -> None:
    assert await monitor.execute("echo", {"down-time": 1}, rounds=2) == {"down-time": 1, "rounds": 2}


async def test_out_of_band_commands_are_sent_as_such(monitor: Monitor, server: Server) -> None:
    await monitor.execute_oob("yank", instances=[])

    assert server.seen[-1]["exec-oob"] == "yank"


async def test_a_refusal_has_qemus_own_words(monitor: Monitor) -> None:
    with pytest.raises(Failed, match="QEMU refused refuse: not today") as caught:
        await monitor.execute("refuse")

    assert caught.value.code == "GenericError"
    assert not isinstance(caught.value, Unreachable)


async def test_every_listener_gets_every_event_since_it_was_opened(monitor: Monitor, server: Server) -> None:
    with monitor.listening() as first:
        server.say(STOP, {**STOP, "event": "RESUME"})
        assert await anext(first) == QmpEvent("STOP", {}, 7000.5)
        with monitor.listening() as second:
            server.say({**STOP, "event": "SHUTDOWN", "data": {"guest": True}})
            assert (await anext(first)).name == "RESUME"
            assert await anext(first) == await anext(second) == QmpEvent("SHUTDOWN", {"guest": True}, 7000.5)


async def test_wait_for_skips_other_events(monitor: Monitor, server: Server) -> None:
    with monitor.listening() as listening:
        server.say(STOP, {**STOP, "event": "RESUME"})

        assert (await listening.wait_for(lambda event: event.name == "RESUME", timeout_s=60)).name == "RESUME"


async def test_wait_for_has_a_deadline(monitor: Monitor) -> None:
    with pytest.raises(TimedOut):
        await monitor.wait_for(lambda event: True, timeout_s=0.01)


async def test_the_end_is_loud_for_all_who_wait(monitor: Monitor, server: Server) -> None:
    async def listen() -> list[str]:
        heard = []
        with contextlib.suppress(Unreachable):
            async for event in monitor.events():
                heard.append(event.name)
            raise AssertionError("a stream of events never ends silently")
        return heard

    async def command() -> None:
        with pytest.raises(Unreachable):
            await monitor.execute("hang")

    waiting = [asyncio.create_task(listen()), asyncio.create_task(listen())]
    hanging = asyncio.create_task(command())
    await monitor.execute("echo")
    server.say(STOP)
    server.hang_up()

    async with asyncio.timeout(60):
        assert [await each for each in waiting] == [["STOP"], ["STOP"]]
        await hanging
        await monitor.closed


async def test_whoever_hears_of_the_end_finds_it_closed(monitor: Monitor, server: Server) -> None:
    """Else one who asks again whenever it is not closed would never let go of the event loop."""

    async def go_on_asking() -> None:
        while True:
            await monitor.execute("echo")

    server.hang_up()

    with pytest.raises(Unreachable):
        await go_on_asking()
    assert monitor.closed.done()


async def test_after_the_end_everything_says_so(monitor: Monitor, server: Server) -> None:
    server.hang_up()
    await monitor.closed

    with pytest.raises(Unreachable):
        await monitor.execute("echo")
    with monitor.listening() as late:
        for _ in range(2):
            with pytest.raises(Unreachable):
                await anext(late)


async def test_closing_is_an_end_too_and_may_be_repeated(monitor: Monitor) -> None:
    with monitor.listening() as listening:
        await monitor.close()
        await monitor.close()
        with pytest.raises(Unreachable):
            await anext(listening)
    assert monitor.closed.done()


async def test_nobody_there_is_unreachable(tmp_path: Path) -> None:
    with pytest.raises(Unreachable, match=r"nobody\.sock"):
        await Monitor.connect(tmp_path / "nobody.sock")

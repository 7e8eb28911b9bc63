"""The guest agent is asked as its protocol wants, and one that is missing, mute or confused is no guest agent."""

from __future__ import annotations

import asyncio
import json
import tempfile
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from godwit.core.errors import Refused, Unreachable
from godwit.qemu.guest_agent import SENTINEL, shut_down, talking

Answer = Callable[[int], bytes]


@pytest.fixture
async def socket() -> AsyncIterator[Path]:
    """A path short enough for a socket."""
    with tempfile.TemporaryDirectory(prefix="gw") as name:
        yield Path(name) / "agent.sock"


class GuestAgent:
    """Answers a synchronisation as it is told to, and keeps what it hears."""

    def __init__(self, answer: Answer) -> None:
        self._answer = answer
        self.heard: list[dict[str, object]] = []
        self.ended = asyncio.Event()

    async def talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while line := await reader.readline():
            request = json.loads(line.removeprefix(SENTINEL))
            self.heard.append(request)
            if request["execute"] == "guest-sync-delimited":
                assert line.startswith(SENTINEL)
                writer.write(self._answer(request["arguments"]["id"]))
        writer.close()
        self.ended.set()


def answered(id: int) -> bytes:
    return SENTINEL + json.dumps({"return": id}).encode() + b"\n"


@pytest.mark.anyio
@pytest.mark.parametrize(
    "answer",
    [answered, lambda id: b'{"return": {}}\n' + answered(1 << 40) + SENTINEL + b"no JSON\n" + answered(id)],
    ids=["plainly", "after what others left"],
)
async def test_it_is_told_to_shut_down_once_it_has_answered(socket: Path, answer: Answer) -> None:
    guest = GuestAgent(answer)
    async with await asyncio.start_unix_server(guest.talk, socket):
        assert await shut_down(socket, timeout_s=30)
        await guest.ended.wait()
    assert guest.heard[1:] == [{"execute": "guest-shutdown", "arguments": {"mode": "powerdown"}}]


@pytest.mark.anyio
async def test_one_that_does_not_answer_is_told_nothing(socket: Path) -> None:
    guest = GuestAgent(lambda _: b"")
    limit_s = 0.05
    async with await asyncio.start_unix_server(guest.talk, socket):
        while not guest.heard:  # on a busy machine nothing may have been said by then
            assert not await shut_down(socket, timeout_s=limit_s)
            limit_s *= 2
        await guest.ended.wait()
    assert {each["execute"] for each in guest.heard} == {"guest-sync-delimited"}


@pytest.mark.anyio
async def test_without_one_nobody_answers(socket: Path) -> None:
    assert not await shut_down(socket, timeout_s=30)


class Willing(GuestAgent):
    """Answers whatever else it is asked from a table, the last answer again and again."""

    def __init__(self, **answers: list[object]) -> None:
        super().__init__(answered)
        self._answers = {name.replace("_", "-"): values for name, values in answers.items()}

    async def talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while line := await reader.readline():
            request = json.loads(line.removeprefix(SENTINEL))
            self.heard.append(request)
            if request["execute"] == "guest-sync-delimited":
                writer.write(answered(request["arguments"]["id"]))
                continue
            left = self._answers[request["execute"]]
            answer = left.pop(0) if len(left) > 1 else left[0]
            key = "error" if isinstance(answer, dict) and "desc" in answer else "return"
            writer.write(json.dumps({key: answer}).encode() + b"\n")
        writer.close()
        self.ended.set()


@pytest.mark.anyio
async def test_a_program_of_the_guest_has_run_to_its_end(socket: Path) -> None:
    guest = Willing(guest_exec=[{"pid": 7}], guest_exec_status=[{"exited": False}, {"exited": True, "exitcode": 3}])
    async with await asyncio.start_unix_server(guest.talk, socket), talking(socket, timeout_s=30) as agent:
        assert await agent.run("/hook", "before", "host-a") == 3
    assert guest.heard[1]["arguments"] == {"path": "/hook", "arg": ["before", "host-a"]}
    assert [each["arguments"] for each in guest.heard[2:]] == [{"pid": 7}] * 2


@pytest.mark.anyio
async def test_what_it_will_not_do_is_refused_with_its_reason(socket: Path) -> None:
    guest = Willing(guest_exec=[{"class": "CommandNotFound", "desc": "guest-exec is disabled"}])
    async with await asyncio.start_unix_server(guest.talk, socket), talking(socket, timeout_s=30) as agent:
        with pytest.raises(Refused, match="guest-exec is disabled"):
            await agent.run("/hook")


@pytest.mark.anyio
async def test_its_clock_is_compared_with_ours_and_set_although_its_hardware_clock_cannot_be(socket: Path) -> None:
    failed = {"class": "GenericError", "desc": "hwclock failed to set hardware clock to system time"}
    guest = Willing(guest_get_time=[0], guest_set_time=[failed])
    async with await asyncio.start_unix_server(guest.talk, socket), talking(socket, timeout_s=30) as agent:
        before_ns = time.time_ns()
        skew_ms, error_ms = await agent.skew_ms()
        await agent.set_clock(later_ms=0)
    assert skew_ms <= -before_ns / 1e6 < 0 <= error_ms
    (told,) = [each["arguments"] for each in guest.heard if each["execute"] == "guest-set-time"]
    assert before_ns <= told["time"] <= time.time_ns()  # type: ignore[index]


@pytest.mark.anyio
async def test_one_that_does_not_keep_up_is_unreachable(socket: Path) -> None:
    guest = Willing(guest_exec=[{"pid": 7}], guest_exec_status=[{"exited": False}])
    async with await asyncio.start_unix_server(guest.talk, socket):
        with pytest.raises(Unreachable, match="no guest agent answers"):
            async with talking(socket, timeout_s=0.2) as agent:
                await agent.run("/hook")


@pytest.mark.anyio
async def test_what_it_knows_and_may_do(socket: Path) -> None:
    told = [{"name": "guest-get-time", "enabled": True}, {"name": "guest-exec", "enabled": False}]

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while line := await reader.readline():
            request = json.loads(line.removeprefix(SENTINEL))
            if request["execute"] == "guest-sync-delimited":
                writer.write(answered(request["arguments"]["id"]))
            else:
                writer.write(json.dumps({"return": {"supported_commands": told}}).encode() + b"\n")
        writer.close()

    async with await asyncio.start_unix_server(talk, socket), talking(socket, timeout_s=30) as agent:
        assert await agent.commands() == {"guest-get-time"}

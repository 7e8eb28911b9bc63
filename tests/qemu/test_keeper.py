"""The keeper with a real QEMU: many clients on one monitor, and a log that outlives everybody but its directory."""

from __future__ import annotations

import asyncio
import contextlib
import json
import signal
import socket
from collections.abc import AsyncIterator

import pytest

from godwit.core.errors import Failed, Unreachable
from godwit.host import process
from godwit.qemu.keeper import EXITED, GAP, LOG, RETIRE
from godwit.qemu.machine import Machine
from godwit.qemu.monitor import Monitor

pytestmark = [pytest.mark.anyio, pytest.mark.lab]

DEADLINE_S = 60.0


@pytest.fixture
async def other(machine: Machine) -> AsyncIterator[Monitor]:
    """A second client of the same keeper."""
    monitor = await Monitor.connect(machine.run_dir / "keeper.sock")
    yield monitor
    await monitor.close()


async def test_replies_find_their_clients(machine: Machine, other: Monitor) -> None:
    asked = [client.execute("query-status") for client in (machine.monitor, other) for _ in range(50)]
    named = [client.execute("query-name") for client in (machine.monitor, other) for _ in range(50)]
    refused = [client.execute("no-such-command") for client in (machine.monitor, other)]

    answers = await asyncio.gather(*asked, *named, *refused, return_exceptions=True)

    assert [answer["status"] for answer in answers[:100] if isinstance(answer, dict)] == ["running"] * 100
    assert answers[100:200] == [{"name": "vm"}] * 100
    assert [type(answer) for answer in answers[200:]] == [Failed, Failed]


async def test_every_client_hears_each_event_once_and_the_log_has_it_once(machine: Machine, other: Monitor) -> None:
    with machine.monitor.listening() as first, other.listening() as second:
        await other.execute("stop")
        await machine.monitor.execute("cont")
        heard = [[(await anext(each)).name for _ in range(2)] for each in (first, second)]

    assert heard == [["STOP", "RESUME"]] * 2
    events = await machine.events_since(0)
    assert [each.event.name for each in events] == ["STOP", "RESUME"]
    assert [each.sequence for each in events] == [1, 2]
    assert await machine.events_since(1) == events[1:]


async def test_out_of_band_commands_are_forwarded_as_such(machine: Machine) -> None:
    with pytest.raises(Failed, match="Instance not found"):
        await machine.monitor.execute_oob("yank", instances=[{"type": "migration"}])
    with pytest.raises(Failed, match="does not support OOB"):
        await machine.monitor.execute_oob("query-status")


async def test_a_client_that_leaves_takes_no_reply_with_it(machine: Machine) -> None:
    with socket.socket(socket.AF_UNIX) as leaver:
        leaver.connect(str(machine.run_dir / "keeper.sock"))
        leaver.send(b'{"execute":"query-qmp-schema","id":1}')

    assert await machine.runstate() == "running"


async def test_words_that_are_no_command_are_answered_and_ids_come_back_as_they_were(machine: Machine) -> None:
    reader, writer = await asyncio.open_unix_connection(machine.run_dir / "keeper.sock")
    greeting = json.loads(await reader.readline())
    writer.write(b'nonsense\n{"execute":"query-name","id":{"any":"thing"}}{"execute":"query-name"}')
    lines = [json.loads(await reader.readline()) for _ in range(3)]
    writer.close()
    await writer.wait_closed()

    assert "oob" in greeting["QMP"]["capabilities"]
    assert "error" in lines[0]
    assert lines[1:] == [{"return": {"name": "vm"}, "id": {"any": "thing"}}, {"return": {"name": "vm"}}]


async def test_the_second_monitor_is_left_to_others(machine: Machine) -> None:
    detector = await Monitor.connect(machine.run_dir / "events.sock")
    with detector.listening() as listening:
        await machine.monitor.execute("stop")
        assert (await anext(listening)).name == "STOP"
    await detector.close()


async def test_a_dead_qemu_is_told_after_everything_it_said_and_the_keeper_answers_for_it(machine: Machine) -> None:
    with machine.monitor.listening() as listening:
        await machine.monitor.execute("stop")
        process.kill(machine.qemu_pid, machine.qemu_start_ticks, signal.SIGKILL)
        heard = [await asyncio.wait_for(anext(listening), DEADLINE_S) for _ in range(2)]

    assert [each.name for each in heard] == ["STOP", EXITED]
    assert heard[1].data == {"status": -signal.SIGKILL}
    told = await machine.monitor.execute(LOG, since=0)
    assert [each["event"] for each in told["events"]] == ["STOP", EXITED]
    assert told["qemu"] == {
        "pid": machine.qemu_pid,
        "start_ticks": machine.qemu_start_ticks,
        "is_alive": False,
        "exit_status": -9,
    }
    with pytest.raises(Failed, match="QEMU has exited"):
        await machine.runstate()


async def test_a_command_that_qemu_took_to_its_grave_is_answered(machine: Machine) -> None:
    process.kill(machine.qemu_pid, machine.qemu_start_ticks, signal.SIGSTOP)
    asking = asyncio.create_task(machine.runstate())
    assert await machine.events_since(0) == ()  # later than the question, and answered by the keeper
    process.kill(machine.qemu_pid, machine.qemu_start_ticks, signal.SIGKILL)

    with pytest.raises(Failed, match="QEMU has exited"):
        await asking


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
async def test_qemu_survives_its_keeper_and_the_next_one_tells_of_the_gap(machine: Machine, number: int) -> None:
    await machine.monitor.execute("stop")
    ticks = process.start_ticks(machine.keeper_pid)
    assert ticks is not None
    process.kill(machine.keeper_pid, ticks, number)
    await asyncio.wait_for(machine.monitor.closed, DEADLINE_S)
    with pytest.raises(Unreachable):
        await machine.runstate()

    found = await Machine.adopt(machine.run_dir)

    assert found.keeper_pid != machine.keeper_pid
    assert (found.qemu_pid, found.qemu_start_ticks) == (machine.qemu_pid, machine.qemu_start_ticks)
    assert await found.runstate() == "paused"
    with found.monitor.listening() as listening:
        await found.cont()
        assert (await anext(listening)).name == "RESUME"
    assert [each.event.name for each in await found.events_since(0)] == ["STOP", GAP, "RESUME"]

    process.kill(found.qemu_pid, found.qemu_start_ticks, signal.SIGKILL)
    await asyncio.wait_for(found.gone.wait(), DEADLINE_S)
    assert await found.exit_status() is None  # a stranger's child
    await found.retire()


async def test_retiring_leaves_nothing(machine: Machine) -> None:
    keeper = process.start_ticks(machine.keeper_pid)
    assert keeper is not None

    await machine.monitor.execute(RETIRE)

    await process.wait_gone(machine.keeper_pid, keeper, timeout_s=DEADLINE_S)
    assert not process.is_alive(machine.qemu_pid, machine.qemu_start_ticks)
    assert not machine.run_dir.exists()


async def test_a_qemu_that_ignores_sigterm_is_killed(machine: Machine) -> None:
    process.kill(machine.qemu_pid, machine.qemu_start_ticks, signal.SIGSTOP)

    with contextlib.suppress(Unreachable):
        await asyncio.wait_for(machine.monitor.execute(RETIRE), DEADLINE_S)

    assert not process.is_alive(machine.qemu_pid, machine.qemu_start_ticks)

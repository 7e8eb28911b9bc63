"""A machine is started, found again and ended, and failure leaves nothing."""

# ruff: noqa: ASYNC240 - files here answer at once

from __future__ import annotations

import asyncio
import os
import signal
from dataclasses import replace
from pathlib import Path

import pytest

from godwit.core.errors import Failed, Invalid, NotFound, Refused, TimedOut
from godwit.host import process
from godwit.qemu.cmdline import Launch
from godwit.qemu.machine import Machine

pytestmark = [pytest.mark.anyio, pytest.mark.lab]

DEADLINE_S = 60.0


async def test_it_runs_at_once_in_a_directory_of_its_own(machine: Machine) -> None:
    assert await machine.runstate() == "running"
    assert await machine.exit_status() is None
    assert not machine.gone.is_set()
    assert machine.run_dir.stat().st_mode & 0o777 == 0o700
    assert (machine.run_dir / "keeper.sock").stat().st_mode & 0o077 == 0


async def test_a_receiver_waits(receiver: Machine) -> None:
    assert await receiver.runstate() == "inmigrate"


async def test_the_agents_restart_loses_nothing(machine: Machine) -> None:
    await machine.monitor.execute("stop")
    await machine.close()

    found = await Machine.adopt(machine.run_dir)

    assert (found.keeper_pid, found.qemu_pid) == (machine.keeper_pid, machine.qemu_pid)
    assert [each.event.name for each in await found.events_since(0)] == ["STOP"]
    await found.cont()
    assert await found.runstate() == "running"
    await found.close()


async def test_an_end_while_nobody_looked_is_known_after_adoption(machine: Machine) -> None:
    await machine.close()
    process.kill(machine.qemu_pid, machine.qemu_start_ticks, signal.SIGKILL)
    await process.wait_gone(machine.qemu_pid, machine.qemu_start_ticks, timeout_s=DEADLINE_S)

    found = await Machine.adopt(machine.run_dir)

    await asyncio.wait_for(found.gone.wait(), DEADLINE_S)
    assert await found.exit_status() == -signal.SIGKILL
    await found.close()


async def test_gone_tells_of_qemus_end_even_without_a_keeper(machine: Machine) -> None:
    keeper = process.start_ticks(machine.keeper_pid)
    assert keeper is not None
    process.kill(machine.keeper_pid, keeper, signal.SIGKILL)
    await asyncio.wait_for(machine.monitor.closed, DEADLINE_S)
    assert not machine.gone.is_set()

    process.kill(machine.qemu_pid, machine.qemu_start_ticks, signal.SIGKILL)

    await asyncio.wait_for(machine.gone.wait(), DEADLINE_S)


async def test_when_both_are_dead_nothing_is_found_and_the_traces_stay(machine: Machine) -> None:
    for pid in (machine.keeper_pid, machine.qemu_pid):
        ticks = process.start_ticks(pid)
        assert ticks is not None
        process.kill(pid, ticks, signal.SIGKILL)
        await process.wait_gone(pid, ticks, timeout_s=DEADLINE_S)

    with pytest.raises(NotFound, match=r"qemu\.log"):
        await Machine.adopt(machine.run_dir)

    assert (machine.run_dir / "qemu.log").exists()


async def test_a_directory_that_never_was_holds_no_machine(tmp_path: Path) -> None:
    with pytest.raises(NotFound):
        await Machine.adopt(tmp_path / "none")


async def test_retiring_leaves_nothing_and_may_be_repeated(machine: Machine) -> None:
    keeper = process.start_ticks(machine.keeper_pid)
    assert keeper is not None

    for _ in range(2):
        await machine.retire()

        assert not process.is_alive(machine.qemu_pid, machine.qemu_start_ticks)
        assert not process.is_alive(machine.keeper_pid, keeper)
        assert not machine.run_dir.exists()
        assert machine.gone.is_set()


async def test_retiring_works_without_a_keeper(machine: Machine) -> None:
    keeper = process.start_ticks(machine.keeper_pid)
    assert keeper is not None
    process.kill(machine.keeper_pid, keeper, signal.SIGKILL)
    await asyncio.wait_for(machine.monitor.closed, DEADLINE_S)

    await machine.retire()

    assert not process.is_alive(machine.qemu_pid, machine.qemu_start_ticks)
    assert not machine.run_dir.exists()


async def test_a_qemu_that_refuses_leaves_only_its_last_words(launch: Launch) -> None:
    refused = replace(launch, pinned=launch.pinned.model_copy(update={"cpu_model": "Nonesuch-v1"}))

    with pytest.raises(Failed, match=r"did not start .*Nonesuch-v1"):
        await Machine.start(refused, env={}, timeout_s=DEADLINE_S)

    assert not launch.run_dir.exists()


async def test_a_qemu_that_is_absent_is_named(launch: Launch) -> None:
    with pytest.raises(Failed, match="no-such-qemu cannot be started"):
        await Machine.start(replace(launch, binary="no-such-qemu"), env={}, timeout_s=DEADLINE_S)

    assert not launch.run_dir.exists()


async def test_a_start_that_takes_too_long_is_undone(launch: Launch, tmp_path: Path) -> None:
    mute, pid = tmp_path / "mute-qemu", tmp_path / "pid"
    mute.write_text(f"#!/bin/sh\necho $$ > {pid}\nexec sleep 1000\n")
    mute.chmod(0o755)

    limit_s = 1
    while not (pid.exists() and pid.read_text()):  # a busy machine may not have begun it by then
        with pytest.raises(TimedOut):
            await Machine.start(replace(launch, binary=str(mute)), env={}, timeout_s=limit_s)
        assert not launch.run_dir.exists()
        limit_s *= 2

    assert process.start_ticks(int(pid.read_text())) is None


async def test_two_machines_never_share_a_directory(machine: Machine, launch: Launch) -> None:
    with pytest.raises(Refused, match="exists"):
        await Machine.start(launch, env={}, timeout_s=DEADLINE_S)

    assert await machine.runstate() == "running"


async def test_a_path_too_long_for_sockets_is_refused_before_anything_is_made(launch: Launch, tmp_path: Path) -> None:
    long = tmp_path / ("x" * 100)

    with pytest.raises(Invalid, match="shorter run_dir"):
        await Machine.start(replace(launch, run_dir=long), env={}, timeout_s=DEADLINE_S)

    assert not long.exists()


async def test_qemu_gets_its_environment_and_nothing_of_ours(launch: Launch) -> None:
    ours, theirs = os.pipe()
    machine = await Machine.start(launch, env={"GODWIT_WORD": "yes"}, timeout_s=DEADLINE_S)
    try:
        assert b"GODWIT_WORD=yes" in Path(f"/proc/{machine.qemu_pid}/environ").read_bytes().split(b"\0")
        names = {os.readlink(each) for each in Path(f"/proc/{machine.qemu_pid}/fd").iterdir()}
        assert os.readlink(f"/proc/self/fd/{theirs}") not in names
        assert os.readlink(f"/proc/{machine.qemu_pid}/fd/2") == str(machine.run_dir / "qemu.log")
    finally:
        await machine.retire()
        os.close(ours)
        os.close(theirs)

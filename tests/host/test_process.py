"""Programs: run, detached, named by pid and start time, ended."""

# ruff: noqa: ASYNC222, ASYNC230, ASYNC240 - files and processes here answer at once

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from godwit.core.errors import Failed, TimedOut
from godwit.host import process

pytestmark = pytest.mark.anyio


@pytest.fixture
async def sleeper() -> AsyncIterator[tuple[int, int]]:
    child = await asyncio.create_subprocess_exec("sleep", "1000")
    ticks = process.start_ticks(child.pid)
    assert ticks is not None
    yield child.pid, ticks
    if child.returncode is None:
        child.kill()
    await child.wait()


async def test_run_returns_what_the_program_wrote() -> None:
    assert await process.run(["sh", "-c", "echo $WORD"], timeout_s=60, env={"WORD": "godwit"}) == "godwit\n"


async def test_run_fails_with_the_last_line_of_the_complaint() -> None:
    with pytest.raises(Failed, match="sh ended with status 3: at last"):
        await process.run(["sh", "-c", "echo first >&2; echo at last >&2; exit 3"], timeout_s=60)


async def test_run_says_when_the_program_is_absent() -> None:
    with pytest.raises(Failed, match="no-such-program cannot be started"):
        await process.run(["no-such-program"], timeout_s=60)


async def test_run_kills_and_reaps_what_takes_too_long(monkeypatch: pytest.MonkeyPatch) -> None:
    started, begin = [], asyncio.create_subprocess_exec

    async def noted(*argv: str, **options: Any) -> asyncio.subprocess.Process:
        started.append(await begin(*argv, **options))
        return started[-1]

    monkeypatch.setattr(asyncio, "create_subprocess_exec", noted)
    with pytest.raises(TimedOut):
        await process.run(["sleep", "1000"], timeout_s=0.01)

    assert [each.returncode for each in started] == [-signal.SIGKILL]


async def test_run_passes_descriptors() -> None:
    ours, theirs = os.pipe()
    try:
        await process.run(["sh", "-c", f"echo hello >/dev/fd/{theirs}"], timeout_s=60, pass_fds=[theirs])
        assert os.read(ours, 100) == b"hello\n"
    finally:
        os.close(ours)
        os.close(theirs)


async def test_a_detached_program_is_a_child_of_init_with_its_descriptors_log_and_directory(tmp_path: Path) -> None:
    ours, theirs = os.pipe()
    script = f"pwd; echo $WORD >&2; echo ready >/dev/fd/{theirs}; exec sleep 1000"
    pid = process.spawn_detached(
        ["sh", "-c", script], pass_fds=[theirs], env={"WORD": "godwit"}, log=tmp_path / "log", cwd=tmp_path
    )
    os.close(theirs)
    ticks = process.start_ticks(pid)
    assert ticks is not None
    try:
        assert os.read(ours, 100) == b"ready\n"
        status = dict(line.split(":\t", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines())
        assert int(status["PPid"]) != os.getpid()
        assert os.getsid(pid) != os.getsid(0)
        assert sorted((tmp_path / "log").read_text().split()) == sorted([str(tmp_path), "godwit"])
        assert os.readlink(f"/proc/{pid}/fd/0") == "/dev/null"
        with pytest.raises(ChildProcessError):
            os.waitpid(pid, os.WNOHANG)
    finally:
        os.close(ours)
        process.kill(pid, ticks, signal.SIGKILL)
        await process.wait_gone(pid, ticks, timeout_s=60)


async def test_a_detached_program_gets_no_other_descriptor(tmp_path: Path) -> None:
    ours, theirs = os.pipe()
    with (tmp_path / "secret").open("w") as secret:
        os.set_inheritable(secret.fileno(), False)
        process.spawn_detached(
            ["sh", "-c", f"ls -l /proc/self/fd >/dev/fd/{theirs}"],
            pass_fds=[theirs],
            env={},
            log=tmp_path / "log",
            cwd=tmp_path,
        )
        os.close(theirs)
        with open(ours) as answer:
            listing = answer.read()
    assert "secret" not in listing
    assert f"{theirs} -> pipe" in listing


async def test_a_directory_that_is_absent_is_named(tmp_path: Path) -> None:
    with pytest.raises(Failed, match="nowhere"):
        process.spawn_detached(["true"], pass_fds=[], env={}, log=tmp_path / "log", cwd=tmp_path / "nowhere")


async def test_a_child_is_ours_to_reap(tmp_path: Path) -> None:
    pid = process.spawn_child(["sh", "-c", "echo out; exit 5"], pass_fds=[], env={}, log=tmp_path / "log")

    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 5
    assert (tmp_path / "log").read_text() == "out\n"


async def test_start_ticks_survive_a_name_with_spaces_and_parentheses(tmp_path: Path) -> None:
    program = tmp_path / ") S 1 (x"
    program.symlink_to("/bin/sleep")
    child = await asyncio.create_subprocess_exec(str(program), "1000")
    try:
        ticks = process.start_ticks(child.pid)
        own = process.start_ticks(os.getpid())
        assert ticks is not None
        assert own is not None
        assert ticks >= own
        assert process.is_alive(child.pid, ticks)
    finally:
        child.kill()
        await child.wait()


async def test_another_process_of_the_same_pid_is_not_the_one_meant(sleeper: tuple[int, int]) -> None:
    pid, ticks = sleeper

    assert process.is_alive(pid, ticks)
    assert not process.is_alive(pid, ticks + 1)
    assert not process.kill(pid, ticks + 1, signal.SIGKILL)
    await process.wait_gone(pid, ticks + 1, timeout_s=60)
    assert process.is_alive(pid, ticks)


async def test_wait_gone_sees_the_end_and_a_zombie_is_not_alive(tmp_path: Path) -> None:
    pid = process.spawn_child(["sleep", "1000"], pass_fds=[], env={}, log=tmp_path / "log")
    ticks = process.start_ticks(pid)
    assert ticks is not None

    with pytest.raises(TimedOut):
        await process.wait_gone(pid, ticks, timeout_s=0.01)
    assert process.kill(pid, ticks, signal.SIGKILL)
    await process.wait_gone(pid, ticks, timeout_s=60)

    assert not process.is_alive(pid, ticks)  # a zombie by now, and not yet reaped
    os.waitpid(pid, 0)
    assert process.start_ticks(pid) is None
    assert not process.kill(pid, ticks, signal.SIGKILL)


async def test_pid_zero_means_nobody() -> None:
    assert not process.is_alive(0, 0)
    assert not process.kill(0, 0, signal.SIGKILL)

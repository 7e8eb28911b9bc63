"""Who gets a CPU first: put there, and put back."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from godwit.host import priority

MAY = os.geteuid() == 0


@pytest.fixture
def program() -> Iterator[subprocess.Popen[str]]:
    """With two threads and a session of its own."""
    code = "import threading, sys; threading.Thread(target=sys.stdin.read).start(); print('', flush=True)"
    argv = [sys.executable, "-c", code]
    with subprocess.Popen(argv, stdin=-1, stdout=-1, text=True, start_new_session=True) as running:
        assert running.stdin
        assert running.stdout
        running.stdout.readline()
        yield running
        running.stdin.close()


def nice_values(pid: int) -> set[int]:
    """Of its threads, and of its session where those share as groups."""
    values = {os.getpriority(os.PRIO_PROCESS, int(each)) for each in os.listdir(f"/proc/{pid}/task")}
    group = Path(f"/proc/{pid}/autogroup")
    return values | ({int(group.read_text().split()[-1])} if group.exists() else set())


def test_going_first_is_not_for_what_is_started_later() -> None:
    code = (
        "import os, subprocess, sys; from godwit.host.priority import go_first; before = os.nice(0); go_first(); "
        "child = int(subprocess.check_output([sys.executable, '-c', 'import os; print(os.nice(0))'])); "
        "assert child >= min(before, 0), child; print(os.nice(0) - before)"
    )

    lower = int(subprocess.check_output([sys.executable, "-c", code]))

    assert lower <= 0, "where it may not, all stays as it is"


def test_who_is_put_foremost_is_so_with_all_threads_until_put_back(program: subprocess.Popen[str]) -> None:
    usual = nice_values(program.pid)
    assert usual == {0}

    priority.put_foremost(program.pid)
    assert max(nice_values(program.pid)) < 0 if MAY else nice_values(program.pid) == usual

    priority.put_back(program.pid)
    assert nice_values(program.pid) == usual


def test_a_share_that_somebody_else_gave_stays(program: subprocess.Popen[str]) -> None:
    os.setpriority(os.PRIO_PROCESS, program.pid, 7)

    priority.put_foremost(program.pid)
    priority.put_back(program.pid)

    assert nice_values(program.pid) == {0, 7}


def test_a_process_that_is_gone_is_left_alone() -> None:
    with subprocess.Popen(["true"]) as ended:
        ended.wait()

    priority.put_foremost(ended.pid)
    priority.put_back(ended.pid)

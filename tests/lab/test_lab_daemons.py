"""A lab with its agents and manager: they answer, and they are kept running."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

pytestmark = pytest.mark.lab


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., subprocess.CompletedProcess[str]]]:
    """`godwit lab` with directories of its own; the lab is up."""
    directories = {name: str(tmp_path_factory.mktemp("d")) for name in ("XDG_RUNTIME_DIR", "XDG_STATE_HOME")}
    env = {**os.environ, "GODWIT_LAB": "daemons", **directories}

    def run(*words: str) -> subprocess.CompletedProcess[str]:
        argv = [sys.executable, "-m", "godwit.lab.commands", *words]
        return subprocess.run(argv, env=env, capture_output=True, text=True, timeout=250)

    try:
        made = run("up")
        assert made.returncode == 0, made.stderr
        yield run
    finally:
        run("down")


def daemon_pid(lab: Callable[..., subprocess.CompletedProcess[str]], name: str) -> int | None:
    status: dict[str, Any] = json.loads(lab("status", "--json").stdout)
    node = next(node for node in status["nodes"] if node["name"] == name)
    pid: int | None = node["agent_pid"] or node["manager_pid"]
    return pid


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline, "it did not become true in time"
        time.sleep(0.05)


@pytest.mark.parametrize("name", ["host-a", "manager"])
def test_a_daemon_that_was_killed_is_started_again(
    lab: Callable[..., subprocess.CompletedProcess[str]], name: str
) -> None:
    killed = daemon_pid(lab, name)
    assert killed is not None
    os.kill(killed, signal.SIGKILL)
    until(lambda: daemon_pid(lab, name) not in (None, killed))
    assert lab("up").stdout == "lab daemons is up already\n", "and everything answers again"


def test_a_daemon_stays_down_until_it_is_wanted(lab: Callable[..., subprocess.CompletedProcess[str]]) -> None:
    assert lab("daemon", "host-b", "off").returncode == 0
    assert daemon_pid(lab, "host-b") is None
    assert lab("daemon", "host-b", "on").returncode == 0
    assert daemon_pid(lab, "host-b") is not None
    assert lab("up").stdout == "lab daemons is up already\n"


def test_a_node_without_a_daemon_is_refused(lab: Callable[..., subprocess.CompletedProcess[str]]) -> None:
    done = lab("daemon", "client", "off")
    assert done.returncode == 2
    assert "manager, host-a, host-b" in done.stderr

"""The lab's agents and manager, kept running as systemd would."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from godwit.core.errors import Failed
from godwit.lab import shell
from godwit.lab.control import DaemonState

RESTART_S = 0.5
_STOPPING_S = 10.0


@dataclass
class Daemon:
    """One `godwit agent` or `godwit manager` in its node."""

    argv: list[str]
    log: Path
    process: subprocess.Popen[bytes] | None = None
    wanted: bool = True
    starts: int = 0
    due_at_s: float = 0.0
    """Not started again before that moment of the monotonic clock."""

    @property
    def state(self) -> DaemonState:
        pid = self.process.pid if self.process else None
        return DaemonState(pid=pid, wanted=self.wanted, starts=self.starts)

    @property
    def is_due(self) -> bool:
        """It should run and does not, and its pause is over."""
        return self.wanted and self.process is None and time.monotonic() >= self.due_at_s

    def start(self) -> None:
        """It runs, its output at the end of the log."""
        self.process = shell.start(self.argv, log=self.log)
        self.starts += 1

    def note_end(self) -> None:
        """It has ended; if it is wanted it is due after the pause."""
        if self.process is not None:
            self.process.poll()
        self.process = None
        self.due_at_s = time.monotonic() + RESTART_S

    def stop(self, number: int) -> None:
        """It was sent that signal, has ended, and stays down until it is wanted again."""
        self.wanted = False
        if self.process is None:
            return
        try:
            self.process.send_signal(number)
            self.process.wait(_STOPPING_S)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.note_end()

    def want(self) -> None:
        """It is started at once, if it does not run."""
        self.wanted = True
        self.due_at_s = 0.0


def daemon_words() -> list[str]:
    """What starts a daemon; GODWIT_LAB_DAEMON may name another program, such as one with fault points."""
    return shlex.split(os.environ.get("GODWIT_LAB_DAEMON", "")) or [godwit_program()]


def godwit_program() -> str:
    """The `godwit` that belongs to this Python."""
    program = Path(sys.executable).with_name("godwit")
    if not os.access(program, os.X_OK):
        raise Failed(f"{program} is not there: install godwit into this Python with pip install -e .")
    return str(program)

"""The QEMU that a keeper holds: its own child, or one adopted from a keeper that died."""

from __future__ import annotations

import json
import os
import select
import signal as signals
import socket
from pathlib import Path
from typing import Any

from godwit.host import process

_RETRY_MS = 2


class Child:
    """One QEMU process; `exit_status` is known after `reap`, and only for our own child (negative: the signal)."""

    def __init__(self, pid: int, start_ticks: int) -> None:
        self._pid = pid
        self._start_ticks = start_ticks
        self.pidfd = os.pidfd_open(pid)
        self.is_alive = True
        self.exit_status: int | None = None

    @classmethod
    def start(cls, directory: Path) -> Child:
        """QEMU runs as `launch.json` says, and `qemu.json` names it. It outlives us.

        SIGTERM waits until the name is written: nobody could find a nameless QEMU.
        """
        launch = json.loads((directory / "launch.json").read_text())
        signals.pthread_sigmask(signals.SIG_BLOCK, [signals.SIGTERM])
        pid = process.spawn_child(
            launch["argv"], pass_fds=launch["tap_fds"], env=launch["env"], log=directory / "qemu.log"
        )
        ticks = process.start_ticks(pid)
        if ticks is None:
            raise SystemExit("QEMU ended at once; its last words are in qemu.log")
        temporary = directory / "qemu.json.new"
        temporary.write_text(json.dumps({"pid": pid, "start_ticks": ticks}))
        temporary.rename(directory / "qemu.json")
        signals.pthread_sigmask(signals.SIG_UNBLOCK, [signals.SIGTERM])
        return cls(pid, ticks)

    @classmethod
    def adopt(cls, directory: Path) -> Child:
        """The living QEMU that `qemu.json` names; ends this process if it is dead."""
        known = json.loads((directory / "qemu.json").read_text())
        if not process.is_alive(known["pid"], known["start_ticks"]):
            raise SystemExit("there is no QEMU to adopt: it has ended")
        return cls(known["pid"], known["start_ticks"])

    def connect(self, path: Path) -> socket.socket:
        """A connection to QEMU's monitor, as soon as QEMU has made it; ends this process if QEMU dies before."""
        ended = select.poll()
        ended.register(self.pidfd, select.POLLIN)
        while True:
            sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            try:
                sock.connect(str(path))
                return sock
            except (FileNotFoundError, ConnectionRefusedError):
                sock.close()
            if ended.poll(_RETRY_MS):
                raise SystemExit("QEMU ended before it answered; its last words are in qemu.log")

    def signal(self, number: int) -> None:
        """The signal was sent, unless QEMU is gone."""
        process.kill(self._pid, self._start_ticks, number)

    def reap(self) -> None:
        """QEMU is known to be gone. A stranger's child leaves no status."""
        self.is_alive = False
        try:
            self.exit_status = os.waitstatus_to_exitcode(os.waitpid(self._pid, 0)[1])
        except ChildProcessError:
            self.exit_status = None

    def describe(self) -> dict[str, Any]:
        """What clients may know."""
        return {
            "pid": self._pid,
            "start_ticks": self._start_ticks,
            "is_alive": self.is_alive,
            "exit_status": self.exit_status,
        }

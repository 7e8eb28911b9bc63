"""Places in a daemon where an experiment may stop it: it waits there until it is told to go on, or is killed.

An experiment arms one place by a file `armed` in the directory; the daemon that reaches it takes the file away, tells
the experiment through `strike.sock`, and waits. While there is a file `recording`, every place reached is written down.
"""

from __future__ import annotations

import json
import os
import socket
import time
from contextlib import suppress
from pathlib import Path


class Points:
    """The places of one daemon."""

    def __init__(self, node: str, directory: Path) -> None:
        self._node = node
        self._directory = directory

    def is_set(self, flag: str) -> bool:
        """An experiment wants that."""
        return (self._directory / flag).exists()

    def reach(self, point: str) -> None:
        """Blocks this whole process, as nothing in it may happen meanwhile."""
        if self.is_set("recording"):
            self._record(point)
        if self._is_armed(point):
            self._wait(point)

    def _record(self, point: str) -> None:
        line = json.dumps({"at": time.time(), "node": self._node, "point": point}) + "\n"
        with open(self._directory / "points.jsonl", "a") as file:
            file.write(line)

    def _is_armed(self, point: str) -> bool:
        """For one process only: whoever takes the file away."""
        armed = self._directory / "armed"
        try:
            wanted = json.loads(armed.read_text())
        except (FileNotFoundError, ValueError):
            return False
        if (wanted["node"], wanted["point"]) != (self._node, point):
            return False
        try:
            os.rename(armed, armed.with_suffix(f".{os.getpid()}"))
        except FileNotFoundError:
            return False
        return True

    def _wait(self, point: str) -> None:
        with suppress(OSError), socket.socket(socket.AF_UNIX) as line:  # whoever armed it may be gone
            line.connect(str(self._directory / "strike.sock"))
            line.sendall(point.encode() + b"\n")
            line.recv(1)

"""The event log of one QEMU: numbered without gaps, on file for the next keeper, the newest in memory for the agent."""

from __future__ import annotations

import json
import os
from collections import deque
from pathlib import Path
from typing import Any

KEPT_EVENTS = 10_000


class EventLog:
    """Appends events to a file and remembers the newest `KEPT_EVENTS`. The file is not synced: it outlives us only."""

    def __init__(self, path: Path) -> None:
        """Goes on where an earlier log in that file ended; a torn last line is dropped."""
        text = path.read_bytes() if path.exists() else b""
        whole = text[: text.rfind(b"\n") + 1]
        self._events: deque[dict[str, Any]] = deque(map(json.loads, whole.splitlines()), maxlen=KEPT_EVENTS)
        self._sequence: int = self._events[-1]["seq"] if self._events else 0
        self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        os.ftruncate(self._file, len(whole))

    def append(self, event: dict[str, Any]) -> None:
        """The event has the next number, in memory and in the file."""
        self._sequence += 1
        numbered = {"seq": self._sequence, **event}
        self._events.append(numbered)
        os.write(self._file, json.dumps(numbered, separators=(",", ":")).encode() + b"\n")

    def since(self, sequence: int) -> list[dict[str, Any]]:
        """The kept events after that number; the first one's number tells whether older ones were dropped."""
        return [event for event in self._events if event["seq"] > sequence]

"""What a QEMU's event log proves: RESUME comes before vCPUs run, so a whole log without it proves that none did."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from godwit.qemu.keeper import EXITED, GAP
from godwit.qemu.monitor import QmpEvent, parse_event


@dataclass(frozen=True)
class LoggedEvent:
    """An event with its number in the keeper's log; numbers have no gaps, `__org.godwit_GAP` marks lost time."""

    sequence: int
    event: QmpEvent


@dataclass(frozen=True)
class History:
    """All that a QEMU said, as far as it was kept."""

    events: tuple[LoggedEvent, ...]
    is_alive: bool
    exit_status: int | None = None

    @property
    def is_whole(self) -> bool:
        """Nothing that it said is missing."""
        names = [each.event.name for each in self.events]
        return self.from_the_start and GAP not in names and (self.is_alive or EXITED in names)

    @property
    def from_the_start(self) -> bool:
        """None is missing before the first."""
        return not self.events or self.events[0].sequence == 1 or _begins_a_stream(self.events[0].event)

    def of_last_stream(self) -> History:
        """From the beginning of the last stream on; all, if there was none."""
        begun = [index for index, each in enumerate(self.events) if _begins_a_stream(each.event)]
        return replace(self, events=self.events[begun[-1] :]) if begun else self

    def began_at_ms(self) -> float | None:
        """Unix time at which the last stream began; none: that is not in it."""
        begun = [each.event.at_ms for each in self.events if _begins_a_stream(each.event)]
        return begun[-1] if begun else None

    def resumed(self) -> bool | None:
        """RESUME stands in it; none: it may have been said, and is not there."""
        if any(each.event.name == "RESUME" for each in self.events):
            return True
        return False if self.is_whole else None

    def stopped_at_ms(self) -> float | None:
        """Unix time of the last STOP."""
        stops = [each.event.at_ms for each in self.events if each.event.name == "STOP"]
        return stops[-1] if stops else None


def told(answer: Mapping[str, Any]) -> History:
    """From the keeper's answer to `__org.godwit_log`."""
    qemu = answer["qemu"]
    return History(_logged(answer["events"]), qemu["is_alive"], qemu["exit_status"])


def left(run_dir: Path) -> History:
    """From the log of a keeper that is dead, as its QEMU is; what cannot be read counts as lost."""
    try:
        text = (run_dir / "events.jsonl").read_bytes()
        whole = text[: text.rfind(b"\n") + 1]
        events = _logged([json.loads(line) for line in whole.splitlines()])
    except (OSError, ValueError):
        events = ()
    statuses = [each.event.data.get("status") for each in events if each.event.name == EXITED]
    return History(events, is_alive=False, exit_status=statuses[-1] if statuses else None)


def _logged(events: Sequence[Mapping[str, Any]]) -> tuple[LoggedEvent, ...]:
    return tuple(LoggedEvent(each["seq"], parse_event(each)) for each in events)


def _begins_a_stream(event: QmpEvent) -> bool:
    return event.name == "MIGRATION" and event.data["status"] == "setup"

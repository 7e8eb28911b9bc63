"""The progress of migrations as bars on a terminal."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TextIO

from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TaskID, TextColumn

from godwit.cli.units import format_ms
from godwit.cli.watch import shown_text
from godwit.core.migration import DiskProgress, Event, EventKind
from godwit.core.migration import Progress as Copied
from godwit.core.value import MIB

LASTING = frozenset({EventKind.foreseen, EventKind.decided, EventKind.warned, EventKind.ended})
"""Events whose lines stay on the terminal."""


@dataclass
class _Row:
    """What one migration's line says."""

    name: str = ""
    phase: str = "pending"
    copied: Copied | None = None
    task: TaskID | None = None

    @property
    def words(self) -> str:
        """Beside the bar."""
        return f"{self.name}{words(self.phase, self.copied)}"


class Bar:
    """A line that changes for each migration; warnings and the end stay above them."""

    def __init__(self, stream: TextIO, names: Mapping[str, str] | None = None) -> None:
        """`names`: of several migrations, the VM that each one moves."""
        self._console = Console(file=stream)
        self._progress: Progress | None = None
        width = max(map(len, (names or {}).values()), default=0)
        self._rows = {id: _Row(f"{name:{width}}  ") for id, name in (names or {}).items()} or {"": _Row()}
        self._is_one = not names

    def show(self, event: Event) -> None:
        """The line is as the event has it; of several, the line of one that has ended is gone."""
        row = self._rows["" if self._is_one else event.migration]
        row.phase = event.phase.value if event.phase else row.phase
        row.copied = event.progress or row.copied
        if event.kind in LASTING:
            self._console.print(f"{event.migration} {row.name}{shown_text(event)}", highlight=False, markup=False)
        if event.kind is EventKind.ended and not self._is_one:
            self.pause()
            del self._rows[event.migration]
        self.resume()

    def resume(self) -> None:
        """The lines are there, as the last events had them."""
        progress = self._shown()
        for row in self._rows.values():
            if row.task is None:
                row.task = progress.add_task("", words="")
            done = row.copied.total_bytes - row.copied.remaining_bytes if row.copied else 0
            total = row.copied.total_bytes if row.copied else None
            progress.update(row.task, completed=done, total=total, words=row.words)

    def pause(self) -> None:
        """The lines are gone, and the terminal free for other words."""
        if self._progress:
            self._progress.stop()
            self._progress = None
        for row in self._rows.values():
            row.task = None

    def _shown(self) -> Progress:
        if self._progress is None:
            columns = (SpinnerColumn(), BarColumn(bar_width=20), TextColumn("{task.fields[words]}", markup=False))
            self._progress = Progress(*columns, console=self._console, transient=True)
            self._progress.start()
        return self._progress


def words(phase: str, copied: Copied | None) -> str:
    """What the line says beside the bar."""
    if copied is None:
        return phase
    parts = [
        phase,
        f"pass {copied.pass_number}" if not copied.disks else ", ".join(map(_disk, copied.disks)),
        f"{copied.remaining_bytes / MIB:.0f} MiB left",
        f"{copied.bandwidth_bytes_per_s / MIB:.0f} MiB/s",
    ]
    if copied.predicted_blackout_ms is not None:
        parts.append(f"blackout about {format_ms(copied.predicted_blackout_ms)}")
    if copied.throttle_percent > 1:
        parts.append(f"guest slowed down by {copied.throttle_percent} %")
    if copied.time_left_s is not None:
        parts.append(f"{format_ms(copied.time_left_s * 1000)} to go")
    return ", ".join(parts)


def _disk(disk: DiskProgress) -> str:
    return f"{disk.disk} {disk.copied_bytes * 100 // max(disk.total_bytes, 1)} %"

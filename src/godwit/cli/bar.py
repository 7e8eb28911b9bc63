"""A migration's progress as a bar on a terminal."""

from __future__ import annotations

from typing import TextIO

from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn

from godwit.cli.units import format_ms
from godwit.core.migration import Event, EventKind
from godwit.core.migration import Progress as Copied
from godwit.core.model import MIB

LASTING = frozenset({EventKind.warned, EventKind.ended})
"""Events whose lines stay on the terminal."""


class Bar:
    """One line that changes; warnings and the end stay above it."""

    def __init__(self, stream: TextIO) -> None:
        self._console = Console(file=stream)
        self._progress: Progress | None = None
        self._phase = "pending"
        self._copied: Copied | None = None

    def show(self, event: Event) -> None:
        """The line is as the event has it."""
        if event.phase:
            self._phase = event.phase.value
        self._copied = event.progress or self._copied
        if event.kind in LASTING:
            self._console.print(f"{event.migration} {event.text}", highlight=False, markup=False)
        self.resume()

    def resume(self) -> None:
        """The line is there, as the last event had it."""
        progress, copied = self._shown(), self._copied
        done = copied.total_bytes - copied.remaining_bytes if copied else 0
        total = copied.total_bytes if copied else None
        progress.update(progress.task_ids[0], completed=done, total=total, words=words(self._phase, copied))

    def pause(self) -> None:
        """The line is gone, and the terminal free for other words."""
        if self._progress:
            self._progress.stop()
            self._progress = None

    def _shown(self) -> Progress:
        if self._progress is None:
            columns = (SpinnerColumn(), BarColumn(bar_width=20), TextColumn("{task.fields[words]}", markup=False))
            self._progress = Progress(*columns, console=self._console, transient=True)
            self._progress.add_task("", words="")
            self._progress.start()
        return self._progress


def words(phase: str, copied: Copied | None) -> str:
    """What the line says beside the bar."""
    if copied is None:
        return phase
    parts = [
        phase,
        f"pass {copied.pass_number}",
        f"{copied.remaining_bytes / MIB:.0f} MiB left",
        f"{copied.bandwidth_bytes_per_s / MIB:.0f} MiB/s",
    ]
    if copied.predicted_blackout_ms is not None:
        parts.append(f"blackout about {format_ms(copied.predicted_blackout_ms)}")
    if copied.time_left_s is not None:
        parts.append(f"{format_ms(copied.time_left_s * 1000)} to go")
    return ", ".join(parts)

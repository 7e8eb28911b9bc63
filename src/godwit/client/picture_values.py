"""What a picture shows: latency over time, blackouts, and what became of each client."""

from __future__ import annotations

from collections.abc import Sequence

from godwit.core.model import Value
from godwit.core.report import Report


class Series(Value):
    """The answers of one client over time."""

    name: str
    points: tuple[tuple[float, float], ...] = ()
    """Unix time of the answer in ms, ascending, and how long it took in ms."""

    def during(self, start_ms: float, end_ms: float) -> Series:
        """Only what was asked before that stretch of time ended and answered after it began."""
        kept = tuple((at, latency) for at, latency in self.points if start_ms <= at and at - latency <= end_ms)
        return Series(name=self.name, points=kept)


class Mark(Value):
    """A stretch of time to point out: a blackout."""

    label: str
    start_ms: float
    """Unix time."""
    end_ms: float


class ClientRow(Value):
    """What became of one client."""

    name: str
    survived: bool
    verified: bool
    error: str | None = None
    stalls_ms: tuple[tuple[str, float], ...] = ()
    """The longest silence of each window, by the window's name."""
    operations: int = 0
    retransmissions: int = 0
    spurious_retransmissions: int = 0
    congestion_control: str = ""
    """Empty: the connection could not be asked, and how often it sent again is not known."""


def blackouts(migrations: Sequence[Report]) -> tuple[Mark, ...]:
    """When each VM stood still; migrations that never stopped it have none."""
    marks = []
    for each in migrations:
        if each.stopped_at_ms is not None and each.blackout_ms is not None:
            start_ms = each.stopped_at_ms
            label = f"{each.source} → {each.destination}: {each.blackout_ms:.0f} ms"
            marks.append(Mark(label=label, start_ms=start_ms, end_ms=start_ms + each.blackout_ms))
    return tuple(marks)

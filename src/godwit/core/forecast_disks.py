"""What the disks of a move will take: what they hold, at the rate at which disks went before, or the link carries."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from godwit.core.errors import Refused
from godwit.core.forecast import LINK_SHARE, Measured, Past, smoothed
from godwit.core.migration import MigrationRequest
from godwit.core.model import DiskMove
from godwit.core.report import DiskReport, Forecast
from godwit.core.wording import size

DISK_BYTES_PER_S = 200e6
"""What storage takes in, where no earlier move tells."""
AROUND_MS = 700.0
"""What a move without memory takes besides copying, where no earlier move tells."""
RESTART_MS = 10_000.0
"""Besides, if its VM is shut down and started again."""
LEAST_BYTES = 8 << 20
"""Of a past move: less tells nothing of a rate."""


class Copying(NamedTuple):
    """Disks that go."""

    bytes: int
    bytes_per_s: float

    @property
    def ms(self) -> float:
        """How long."""
        return 1000 * self.bytes / self.bytes_per_s

    def added_to(self, forecast: Forecast) -> Forecast:
        """The same, and what its disks take, which the total has already."""
        if not self.bytes:
            return forecast
        return forecast.model_copy(update={"disks_ms": round(self.ms, 1), "disk_bytes": self.bytes})


def copying(
    measured: Measured, past: Sequence[Past], moves: Iterable[DiskMove], *, stays: bool, cap_bytes_per_s: int | None
) -> Copying:
    """All disks at once; what a disk holds is what its source measured, else all of it."""
    size = sum(measured.disk_bytes.get(move.disk.name, move.disk.size_bytes) for move in moves)
    link = math.inf if stays else measured.link_bytes_per_s * LINK_SHARE or math.inf
    rates = [each.disk_bytes_per_s for each in past if each.disk_bytes_per_s]
    known = smoothed(rates, min(link, DISK_BYTES_PER_S))
    return Copying(size, min(known, link, cap_bytes_per_s or math.inf))


def rate(disks: Iterable[DiskReport]) -> float:
    """At which these disks went, all at once; 0: too little went to tell."""
    disks = list(disks)
    size, took_ms = sum(each.copied_bytes for each in disks), max((each.ms for each in disks), default=0.0)
    return 1000 * size / took_ms if size >= LEAST_BYTES and took_ms else 0.0


def without_memory(disks: Copying, past: Sequence[Past], request: MigrationRequest) -> Forecast:
    """Of a VM that stays, or is off; `Refused` with numbers if that is longer than the deadline."""
    usual_ms = AROUND_MS + (RESTART_MS if request.shut_down else 0.0)
    total_ms = disks.ms + smoothed([each.around_ms for each in past], usual_ms)
    if request.deadline_s is not None and total_ms > request.deadline_s * 1000:
        raise Refused(
            f"{request.vm} cannot be moved within --deadline {request.deadline_s:g} s: it needs "
            f"{total_ms / 1000:.1f} s, {size(disks.bytes)} of disks at {size(disks.bytes_per_s)}/s; "
            "allow that, or raise --bandwidth",
            "deadline-unreachable",
        )
    return disks.added_to(Forecast(total_ms=round(total_ms, 1)))

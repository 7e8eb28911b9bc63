"""The milestones of a blackout, by their words in a report's timeline, and how long it is from each to the next."""

from __future__ import annotations

from collections.abc import Iterable
from enum import StrEnum
from itertools import accumulate, pairwise

from godwit.core.report import BlackoutParts, TimelineEntry


class Milestone(StrEnum):
    """In their usual order; being told may come after having loaded, and after its agent has heard of that."""

    stopped = "vCPUs stopped at the source"
    sent = "memory and devices sent"
    told = "the destination is told to run it"
    loaded = "loaded at the destination"
    heard = "the destination's agent knows that it is loaded"
    written = "the destination's journal is on the disk"
    started = "vCPUs are being started at the destination"
    resumed = "vCPUs run at the destination"


BORDERS = (Milestone.stopped, Milestone.sent, Milestone.loaded, Milestone.started, Milestone.resumed)


def parts(timeline: Iterable[TimelineEntry]) -> BlackoutParts | None:
    """From STOP to RESUME, piece by piece; none where an agent's restart has left one unknown.

    Two hosts tell the moments, and their clocks are never quite the same: what would be less than nothing is nothing.
    """
    at_ms: dict[str, float] = {}
    for entry in timeline:
        at_ms.setdefault(entry.event, entry.at_ms)
    if not at_ms.keys() >= set(BORDERS):
        return None
    last_ms = at_ms[BORDERS[-1]]
    borders = [min(each, last_ms) for each in accumulate((at_ms[border] for border in BORDERS), max)]
    sent, loaded, decided, started = (round(after - before, 3) for before, after in pairwise(borders))
    return BlackoutParts(send_ms=sent, load_ms=loaded, agree_ms=decided, start_ms=started)

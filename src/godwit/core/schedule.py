"""Which of the migrations that wait may start now: pure; one line of a host carries them all, so they share it.

A line is one direction of a host's migration link: what a source sends, or what a destination receives. A migration
uses the source's outgoing and the destination's incoming line. On each, with as many migrations as are on it then,
every one's share must still carry more than its guest dirties; otherwise none of them would come to an end.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from statistics import median
from typing import NamedTuple

from godwit.core.report import PassReport

MOST_ON_A_LINE = 4
"""More at once only make each one longer: two streams fill a link already."""
MOST_ON_UNKNOWN = 2
"""On a line whose rate nobody has measured yet."""
MOST_OVERTAKEN = 8
"""One that so many later ones were let pass is shorter than all others, and what it needs is kept free for it."""
USABLE = 0.5
"""A guest that dirties at most this part of its migration's share leaves each pass at most half of the one before."""


class Line(NamedTuple):
    """One direction of a host's migration link."""

    host: str
    direction: str
    """`out` or `in`."""


class Wish(NamedTuple):
    """A migration as the schedule sees it, waiting or under way."""

    id: str
    source: str
    destination: str
    size_bytes: int
    """To send in all, as far as is known: decides who is shorter."""
    dirty_bytes_per_s: int = 0
    """By the VM's last migration; 0: not known."""
    parallel: int | None = None
    """At most so many on each of its lines while it is one of them; None: as many as converge."""
    overtaken: int = 0
    """So many that asked later were let start on one of its lines while it waited."""

    @property
    def lines(self) -> tuple[Line, Line]:
        """What it uses."""
        return Line(self.source, "out"), Line(self.destination, "in")


def startable(waiting: Iterable[Wish], moving: Iterable[Wish], rates: Mapping[Line, int]) -> list[str]:
    """Those that may start now beside those that move, the shortest first; `rates` in bytes per second, where known.

    On lines that nothing moves on one always may start, so the schedule never stands still. None is passed by for ever:
    see `MOST_OVERTAKEN`.
    """
    started: list[str] = []
    under_way = list(moving)
    kept: set[Line] = set()
    for wish in sorted(waiting, key=lambda each: (not _is_next(each), each.size_bytes)):
        if kept.isdisjoint(wish.lines) and all(_fits(wish, under_way, line, rates.get(line)) for line in wish.lines):
            started.append(wish.id)
            under_way.append(wish)
        elif _is_next(wish):
            kept.update(wish.lines)
    return started


def _is_next(wish: Wish) -> bool:
    return wish.overtaken >= MOST_OVERTAKEN


def passed_by(waiting: Sequence[Wish], started: Collection[str]) -> list[str]:
    """Each of those (in the order in which they asked) that were not started, once for each later one that was."""
    return [
        each.id
        for place, each in enumerate(waiting)
        for later in waiting[place + 1 :]
        if each.id not in started and later.id in started and not set(each.lines).isdisjoint(later.lines)
    ]


def _fits(wish: Wish, under_way: Sequence[Wish], line: Line, rate: int | None) -> bool:
    others = [each for each in under_way if line in each.lines]
    if not others:
        return True
    sharing = [*others, wish]
    named = [each.parallel for each in sharing if each.parallel is not None]
    if named and len(sharing) > min(named):
        return False
    if wish.parallel is not None:
        return True
    if rate is None:
        return len(sharing) <= MOST_ON_UNKNOWN
    share = rate / len(sharing)
    return len(sharing) <= MOST_ON_A_LINE and all(each.dirty_bytes_per_s <= USABLE * share for each in sharing)


def rate_of(passes: Sequence[PassReport]) -> int | None:
    """Bytes per second that a stream of these passes had, whatever single ones say; None: it was never measured."""
    measured = [each.bandwidth for each in passes if each.bandwidth]
    return int(median(measured)) if measured else None


def dirty_rate_of(passes: Sequence[PassReport]) -> int:
    """Bytes per second that the guest dirtied at its busiest; 0: it was never measured."""
    return max((each.dirty_rate for each in passes), default=0)

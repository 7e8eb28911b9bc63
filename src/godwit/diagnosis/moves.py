"""Finds the moves of a VM: its frames come by another port, it is announced, or it falls silent and comes back."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

from godwit.diagnosis.sight import Kind
from godwit.diagnosis.story import Move, Passage, Story, is_asking

SUSTAINED_FRAMES, SUSTAINED_MS = 3, 200.0
"""A port by which fewer frames come, for a shorter time, is not yet the VM's place."""
ANNOUNCED_APART_MS = 11_000.0
"""Announcements that lie closer together belong to one move; godwit repeats them every 10 s until they are seen."""
SAME_MOVE_MS = 3000.0
BEFORE_MS, AFTER_MS = 1000.0, 12_000.0
FLOODED = 0.2
SILENT_MS, UNANSWERED = 1000.0, 3


@dataclass
class Run:
    """Successive frames of the VM by one port; port none: by a place that was not captured."""

    port: int | None
    passages: list[Passage]

    @property
    def start_ms(self) -> float:
        return self.passages[0].at_ms

    @property
    def end_ms(self) -> float:
        return self.passages[-1].at_ms

    @property
    def is_sustained(self) -> bool:
        return len(self.passages) >= SUSTAINED_FRAMES and self.end_ms - self.start_ms >= SUSTAINED_MS


def runs(story: Story) -> list[Run]:
    """By which ports the VM's frames came, by the view that shows the most changes; empty when no capture tells."""
    return max((view for view in _views(story) if len({run.port for run in view}) > 1), key=len, default=[])


def port_before(story: Story, at_ms: float) -> int | None:
    """By which port the VM's frames came last before that time; none when no capture tells."""
    for view in _views(story):
        earlier = [run for run in view if run.start_ms < at_ms]
        if earlier:
            return earlier[-1].port
    return None


def _views(story: Story) -> Iterator[list[Run]]:
    yield from _directed(story)
    yield _compared(story)


def find(story: Story) -> list[Move]:
    """In order of time; what each one shows of silence and announcements is noted in it."""
    found = _by_port(story)
    for first in _announced(story):
        if not any(abs(first.at_ms - each.at_ms) < ANNOUNCED_APART_MS for each in found):
            found.append(_announced_only(story, first))
    for start, end in silences(story):
        if not any(start.at_ms - SAME_MOVE_MS < each.at_ms < end.at_ms + SAME_MOVE_MS for each in found):
            found.append(Move(end.at_ms, is_certain=False))
    for move in found:
        _describe(story, move)
    return sorted(found, key=lambda each: each.at_ms)


def silences(story: Story) -> Iterator[tuple[Passage, Passage]]:
    """The stretches, each from a frame of the VM to the next, in which several asked and none was answered."""
    for before, after in pairwise(story.sent):
        if after.at_ms - before.at_ms >= SILENT_MS and len(asked(story, before.at_ms, after.at_ms)) >= UNANSWERED:
            yield before, after


def asked(story: Story, start_ms: float, end_ms: float) -> list[Passage]:
    """The frames to the VM in that time that call for an answer."""
    return [each for each in story.received if start_ms < each.at_ms < end_ms and is_asking(each)]


def _directed(story: Story) -> Iterator[list[Run]]:
    """A view for each capture that tells directions: the VM is behind the port by which its frames come in."""
    for file in {place.file for place in story.places}:
        seen = []
        for passage in story.sent:
            entered = [each for each in passage.entered if story.places[each].file == file]
            if entered:
                seen.append((passage, entered[0]))
        yield _cut(seen)


def _compared(story: Story) -> list[Run]:
    """The captures that tell no direction, together: of those that saw a frame, the one that saw the fewest."""
    counted: Counter[int] = Counter()
    together: Counter[tuple[int, int]] = Counter()
    frames = [each for each in story.sent if not each.first.is_to_many and not each.entered and not each.left]
    for passage in frames:
        counted.update(passage.places.keys())
        together.update((one, other) for one in passage.places for other in passage.places if one != other)
    if len(counted) < 2:
        return []
    shared = {
        one
        for (one, other), count in together.items()
        if count >= 0.9 * counted[other] and _is_behind(story, counted, one, other)
    }
    seen: list[tuple[Passage, int | None]] = []
    for passage in frames:
        own = [each for each in passage.places if each not in shared]
        if len(own) > 1:
            continue  # flooded: it tells nothing
        if own:
            seen.append((passage, own[0]))
        elif all(story.coverage[each].spans(passage.at_ms, passage.at_ms) for each in counted if each not in shared):
            seen.append((passage, None))
    return [run for run in _cut(seen) if run.port is not None or run.is_sustained]


def _is_behind(story: Story, counted: Counter[int], one: int, other: int) -> bool:
    """The first place sees what the second one sees, and more; or as much, but it is farther from the VM.

    Farther: what the VM sends comes there later, what is sent to it earlier, than that the clocks could explain both.
    What always comes there first was flooded from there to the other one.
    """
    sent = _share_first_at(other, one, story.sent)
    if counted[one] > 1.05 * counted[other]:
        return sent > FLOODED
    return counted[one] > 0.95 * counted[other] and sent > _share_first_at(other, one, story.received) + 0.5


def _share_first_at(place: int, other: int, passages: Sequence[Passage]) -> float:
    """Of what both places saw."""
    both = [each for each in passages if place in each.places and other in each.places and not each.first.is_to_many]
    return sum(each.first.place == place for each in both) / len(both) if both else 0.5


def _cut(seen: Sequence[tuple[Passage, int | None]]) -> list[Run]:
    found: list[Run] = []
    for passage, port in seen:
        if found and found[-1].port == port:
            found[-1].passages.append(passage)
        else:
            found.append(Run(port, [passage]))
    return found


def _by_port(story: Story) -> list[Move]:
    """One for each change between ports by which the VM spoke for a while."""
    found = []
    before: Run | None = None
    for run in runs(story):
        if before is None or (run.port != before.port and run.is_sustained):
            if before is not None:
                found.append(Move(run.start_ms, port_before=before.port, port_after=run.port))
            before = run
    return found


def _announced(story: Story) -> Iterator[Passage]:
    """The first RARP of each series of announcements: the other kinds are ordinary without one."""
    last_ms = float("-inf")
    for passage in story.sent:
        if passage.kind is Kind.rarp:
            if passage.at_ms - last_ms > ANNOUNCED_APART_MS:
                yield passage
            last_ms = passage.at_ms


def _announced_only(story: Story, first: Passage) -> Move:
    """A move of which nothing but the announcement is seen: the VM had nothing else to say, or it gets no frames."""
    before = port_before(story, first.at_ms)
    after = first.entered[0] if first.entered else None
    is_told = before is not None and before != after
    return Move(first.at_ms, port_before=before if is_told else None, port_after=after if is_told else None)


def _describe(story: Story, move: Move) -> None:
    """The announcements that belong to it, and the longest silence around it."""
    since, until = move.at_ms - BEFORE_MS, move.at_ms + AFTER_MS
    move.announcements = [each for each in story.sent if each.is_announcement and since <= each.at_ms <= until]
    near = [
        (before, after)
        for before, after in pairwise(story.sent)
        if after.at_ms >= since and before.at_ms <= move.at_ms + SAME_MOVE_MS
    ]
    waited = [(pair, asked(story, pair[0].at_ms, pair[1].at_ms)) for pair in near if _length(pair) > 5.0]
    pairs = [(pair, frames) for pair, frames in waited if frames]
    if pairs:
        longest, move.unanswered = max(pairs, key=lambda each: _length(each[0]))
        move.silence_ms = _length(longest)


def _length(pair: tuple[Passage, Passage]) -> float:
    return pair[1].at_ms - pair[0].at_ms

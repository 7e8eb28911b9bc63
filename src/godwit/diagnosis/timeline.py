"""The events of a VM's story in order of time."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from godwit.diagnosis.finding import Entry, Finding
from godwit.diagnosis.moves import runs
from godwit.diagnosis.story import Passage, Story

ENTRIES_MAX = 200
ANNOUNCEMENTS_SHOWN = 12
"""Of each move."""


def timeline(story: Story, findings: Sequence[Finding]) -> list[Entry]:
    """Moves, announcements, silences, resets and findings; no more than can be read."""
    entries = [*_ports(story), *_moves(story), *_resets(story), *_found(findings)]
    return sorted(entries, key=lambda each: each.at_ms)[:ENTRIES_MAX]


def _ports(story: Story) -> Iterator[Entry]:
    for run in runs(story)[:ENTRIES_MAX]:
        yield _entry(story, run.passages[0], f"its frames come by {story.port_name(run.port)}")


def _moves(story: Story) -> Iterator[Entry]:
    for move in story.moves:
        for each in move.announcements[:ANNOUNCEMENTS_SHOWN]:
            seen = ", ".join(dict.fromkeys(story.places[place].name for place in each.places))
            yield _entry(story, each, f"{each.kind} seen at {seen}")
        if move.unanswered:
            first = move.unanswered[0]
            yield _entry(story, first, f"no answer for {move.silence_ms:.0f} ms from here", is_bad=True)


def _resets(story: Story) -> Iterator[Entry]:
    for connection in story.flows.connections.values():
        for reset in connection.resets:
            by = "the VM's side" if reset.is_from_vm else "its peer"
            event = f"{connection.client} to {connection.server} is reset by {by}"
            yield Entry(at_ms=reset.at_ms, place="", packet=reset.number, event=event, is_bad=True)


def _found(findings: Sequence[Finding]) -> Iterator[Entry]:
    for each in findings:
        first = each.evidence[0] if each.evidence else None
        place, packet = (first.place, first.packets[0]) if first else ("", 0)
        yield Entry(at_ms=each.at_ms, place=place, packet=packet, event=f"{each.code}: {each.what}", is_bad=True)


def _entry(story: Story, passage: Passage, event: str, *, is_bad: bool = False) -> Entry:
    place, number = next(iter(passage.places.items()))
    return Entry(at_ms=passage.at_ms, place=story.places[place].name, packet=number, event=event, is_bad=is_bad)

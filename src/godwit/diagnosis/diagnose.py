"""From captures to findings: each VM's story is told, every rule asked, and what follows from a cause told with it."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from ipaddress import ip_address

from godwit.diagnosis.causes import CAUSES
from godwit.diagnosis.finding import Diagnosis, Evidence, Finding, MoveSeen, VmSeen
from godwit.diagnosis.flapping import flapping, moved_too_often
from godwit.diagnosis.gather import Gathering, Source
from godwit.diagnosis.moves import find
from godwit.diagnosis.reporting import reported
from godwit.diagnosis.rules import RULES, Found, ip_conflict, stale_arp_entry, vm_silent
from godwit.diagnosis.story import Move, Passage, Story
from godwit.diagnosis.suffering import sufferings
from godwit.diagnosis.timeline import timeline

PACKETS_SHOWN = 8
SAME_TIME_MS = 70_000.0
"""A finding so long after a cause follows from it."""


def diagnose(
    sources: Sequence[Source], *, macs: Collection[bytes] = (), heartbeat_ms: float | None = None
) -> Diagnosis:
    """What these captures tell of those machines, or of every one that seems to have moved.

    `Invalid` when a file is no capture and `Refused` when its frames are of no kind that is known; whatever else is
    wrong with a file makes the answer partial, and `problems` says so.
    """
    gathering = Gathering(sources)
    stories = gathering.stories(macs)
    findings: list[Finding] = []
    for story in stories:
        story.moves = find(story)
        findings += _findings(story, _ruled(story, heartbeat_ms))
    seen = [_seen(story, findings) for story in stories if macs or story.moves or _is_in(story, findings)]
    return Diagnosis(
        captures=tuple(source.name for source in sources),
        packets=gathering.packets,
        vms=tuple(seen),
        findings=tuple(sorted(findings, key=lambda each: each.at_ms)),
        problems=tuple(_problems(sources, stories)),
    )


def _ruled(story: Story, heartbeat_ms: float | None) -> list[Found]:
    """All that the rules find; of each code the first."""
    found = [rule(story, move) for move in story.moves for rule in RULES]
    found += [rule(story) for rule in (flapping, moved_too_often, stale_arp_entry, ip_conflict, vm_silent)]
    found += sufferings(story, heartbeat_ms)
    first: dict[str, Found] = {}
    for each in found:
        if each is not None and each.code not in first:
            first[each.code] = each
    return list(first.values())


def _findings(story: Story, found: Sequence[Found]) -> list[Finding]:
    """The causes; what follows from one is told with it, not beside it."""
    explained: dict[str, str] = {}
    for cause in found:
        for other in found:
            if other.code in CAUSES[cause.code].explains and other.at_ms < cause.at_ms + SAME_TIME_MS:
                explained.setdefault(other.code, cause.code)
    return [_finding(story, each, _led_to(each, found, explained)) for each in found if each.code not in explained]


def _led_to(cause: Found, found: Iterable[Found], explained: dict[str, str]) -> list[str]:
    return [each.what for each in found if each.code in explained and each.code in CAUSES[cause.code].explains]


def _finding(story: Story, found: Found, led_to: Sequence[str]) -> Finding:
    cause = CAUSES[found.code]
    return Finding(
        code=found.code,
        severity=cause.severity,
        vm=story.name,
        at_ms=found.at_ms,
        what=found.what,
        evidence=tuple(_evidence(story, found.passages)),
        led_to=tuple(led_to),
        advice=cause.advice,
    )


def _evidence(story: Story, passages: Iterable[Passage]) -> Iterable[Evidence]:
    by_place: dict[int, list[int]] = {}
    for passage in passages:
        for place, number in passage.places.items():
            by_place.setdefault(place, []).append(number)
    for place, numbers in by_place.items():
        yield Evidence(place=story.places[place].name, packets=tuple(sorted(set(numbers))[:PACKETS_SHOWN]))


def _seen(story: Story, findings: Sequence[Finding]) -> VmSeen:
    own = [each for each in findings if each.vm == story.name]
    return VmSeen(
        mac=story.name,
        addresses=tuple(sorted(str(ip_address(each)) for each in story.ips)),
        moves=tuple(_move(story, each) for each in story.moves),
        connections=tuple(reported(each) for each in story.flows.connections.values()),
        timeline=tuple(timeline(story, own)),
    )


def _move(story: Story, move: Move) -> MoveSeen:
    is_placed = move.port_before != move.port_after
    return MoveSeen(
        at_ms=move.at_ms,
        silence_ms=round(move.silence_ms, 3),
        place_before=story.port_name(move.port_before) if is_placed else None,
        place_after=story.port_name(move.port_after) if is_placed else None,
        announcements=tuple(dict.fromkeys(each.kind.value for each in move.announcements)),
    )


def _is_in(story: Story, findings: Iterable[Finding]) -> bool:
    return any(each.vm == story.name for each in findings)


def _problems(sources: Sequence[Source], stories: Sequence[Story]) -> Iterable[str]:
    yield from (source.problem for source in sources if source.problem)
    for source in sources:
        if source.offset_ms:
            yield f"the clock of {source.name} was {-source.offset_ms:.0f} ms off the first capture's; it is set right"
    for story in stories:
        if story.is_cut:
            yield f"{story.name} has more frames than are looked at: cut the captures around the move (editcap -A -B)"

"""Reads captures twice: first to find out which machines moved and how clocks differ, then to tell their stories."""

from __future__ import annotations

import heapq
from collections import OrderedDict
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from statistics import median
from typing import BinaryIO

from godwit.core.errors import Refused
from godwit.diagnosis.capture import LINKS, Capture
from godwit.diagnosis.sight import ANNOUNCEMENTS, Kind, Sight, interface_of, sight_of
from godwit.diagnosis.story import Coverage, Passage, Place, Story

MACHINES_MAX, STORIES_MAX, PASSAGES_MAX = 8192, 16, 60_000
PLACES_MAX = 256
HEARD_MAX = 10_000
IPS_MAX = 3
"""A machine that sends from more addresses than that is a router."""
SAME_FRAME_MS = 30.0
THINNED_MS = 5.0
WAITING_MAX = 65_536
"""Frames whose other sightings are waited for, whatever the capture's clock does."""
ALIGNED_BY = 4096
"""So many frames of each capture, the same ones in all, are remembered to compare clocks."""
ALIKE = 5
CLAIMS = ANNOUNCEMENTS | {Kind.arp_request, Kind.arp_reply}
ASKED_AGAIN, SILENT_MS = 3, 1000.0


@dataclass
class Source:
    """One file that was named."""

    name: str
    stream: BinaryIO
    offset_ms: float = 0.0
    """Added to its times, they are those of the first capture."""
    problem: str = ""


@dataclass
class Machine:
    """What the first reading tells of one MAC address."""

    frames: int = 0
    announcements: int = 0
    rarps: int = 0
    ports: dict[int, set[int]] = field(default_factory=dict)
    """By capture that tells directions: the places where its frames came in."""
    files: set[int] = field(default_factory=set)
    ips: set[bytes] = field(default_factory=set)
    last_ms: float = 0.0
    asked: int = 0
    asked_ms: float = 0.0
    came_back: bool = False

    @property
    def is_sure(self) -> bool:
        """It was announced, or came by another port."""
        return bool(self.rarps or self.announcements or any(len(each) > 1 for each in self.ports.values()))

    @property
    def fell_silent(self) -> bool:
        """Several wanted an answer and had to wait long for it, or still do."""
        return self.came_back or (self.asked >= ASKED_AGAIN and self.asked_ms - self.last_ms > SILENT_MS)


class Gathering:
    """The captures under diagnosis."""

    def __init__(self, sources: Sequence[Source]) -> None:
        self.sources = sources
        self.places: list[Place] = []
        self.coverage: list[Coverage] = []
        self.packets = 0
        self._numbers: dict[tuple[int, int], int] = {}
        self._machines: OrderedDict[bytes, Machine] = OrderedDict()
        self._marks: list[dict[int, float]] = []

    def stories(self, macs: Collection[bytes]) -> list[Story]:
        """Of these machines, or of those that seem to have moved."""
        for number in range(len(self.sources)):
            self._survey(number)
        self._align()
        chosen = list(macs) or self._suspects()
        stories = {mac: self._story(mac) for mac in chosen}
        self._tell(stories)
        return list(stories.values())

    def _story(self, mac: bytes) -> Story:
        return Story(mac, self.places, self.coverage, frozenset(self._machines), set(self._of(mac).ips))

    def _sights(self, number: int) -> Iterator[Sight]:
        source = self.sources[number]
        source.stream.seek(0)
        capture = Capture(source.stream, source.name)
        for packet in capture:
            if packet.link not in LINKS:
                if all(each.link not in LINKS for each in capture.interfaces):
                    raise Refused(
                        f"{source.name} has no Ethernet frames (link type {packet.link}): capture on the network card,"
                        " a tap, a bridge or with -i any",
                        "capture",
                    )
                continue
            seen = sight_of(packet)
            if seen is not None:
                place = self._place(number, capture, interface_of(packet))
                yield seen._replace(place=place, at_ms=seen.at_ms + source.offset_ms)
        source.problem = capture.problem

    def _place(self, number: int, capture: Capture, interface: int) -> int:
        key = (number, interface)
        if key not in self._numbers:
            if len(self.places) == PLACES_MAX:
                return PLACES_MAX - 1
            name = self.sources[number].name
            if len(capture.interfaces) == 1 and capture.interfaces[0].link == 276:
                name = f"{name} port {interface}"
            elif len(capture.interfaces) > 1:
                name = f"{name} {capture.interfaces[interface].name or interface}"
            self._numbers[key] = len(self.places)
            self.places.append(Place(number, name))
            self.coverage.append(Coverage())
        return self._numbers[key]

    def _survey(self, number: int) -> None:
        marks: dict[int, float] = {}
        self._marks.append(marks)
        for seen in self._sights(number):
            self.packets += 1
            if seen.kind in (Kind.tcp, Kind.udp) and seen.identity not in marks:
                marks[seen.identity] = seen.at_ms
                if len(marks) == 2 * ALIGNED_BY:
                    for identity in sorted(marks)[ALIGNED_BY:]:
                        del marks[identity]
            self._meet(number, seen)

    def _meet(self, number: int, seen: Sight) -> None:
        machine = self._of(seen.sender)
        machine.frames += 1
        machine.files.add(number)
        machine.came_back |= machine.asked >= ASKED_AGAIN and seen.at_ms - machine.last_ms > SILENT_MS
        machine.last_ms, machine.asked = seen.at_ms, 0
        if seen.kind in ANNOUNCEMENTS and machine.frames > 3:
            machine.announcements += 1
        machine.rarps += seen.kind is Kind.rarp
        if seen.is_outgoing is False and not seen.is_to_many:  # a broadcast comes in by the bridge as well
            machine.ports.setdefault(number, set()).add(seen.place)
        if seen.ip_from and any(seen.ip_from) and len(machine.ips) <= IPS_MAX and seen.ip_from[:1] != b"\xfe":
            machine.ips.add(seen.ip_from)
        is_asking = (seen.segment and seen.segment.payload_bytes) or seen.kind is Kind.arp_request
        if is_asking and not seen.is_to_many and (known := self._machines.get(seen.receiver)):
            known.asked += 1
            known.asked_ms = seen.at_ms

    def _of(self, mac: bytes) -> Machine:
        machine = self._machines.get(mac)
        if machine is None:
            machine = self._machines[mac] = Machine()
            if len(self._machines) > MACHINES_MAX:
                self._machines.popitem(last=False)
        return machine

    def _suspects(self) -> list[bytes]:
        """Those that were announced, changed their place, or fell silent; the most certain first."""

        def weight(mac: bytes) -> tuple[int, int, bool, int]:
            machine = self._machines[mac]
            return (machine.rarps, machine.announcements, machine.fell_silent, machine.frames)

        found = [
            mac
            for mac, each in self._machines.items()
            if (each.is_sure or each.fell_silent) and any(mac) and len(each.ips) <= IPS_MAX
        ]
        sure = [mac for mac in found if self._machines[mac].is_sure]  # else their peers seem to be silent as well
        return sorted(sure or found, key=weight, reverse=True)[:STORIES_MAX]

    def _align(self) -> None:
        """Clocks of captures that saw the same frames are one; others are taken as they are."""
        known = [0]
        for one in known:  # grows
            for other in set(range(len(self.sources))) - set(known):
                apart = _apart(self._marks[one], self._marks[other])
                if apart is not None:
                    offset_ms = self.sources[one].offset_ms + apart
                    self.sources[other].offset_ms = offset_ms if abs(offset_ms) > SAME_FRAME_MS / 3 else 0.0
                    known.append(other)

    def _tell(self, stories: dict[bytes, Story]) -> None:
        by_ip = {ip: mac for mac, story in stories.items() for ip in story.ips}
        merged = heapq.merge(*(self._sights(number) for number in range(len(self.sources))), key=lambda s: s.at_ms)
        for passage in _passages(merged, self.coverage):
            seen = passage.first
            story = stories.get(seen.sender)
            if story is not None:
                _keep(story, story.sent, passage)
                story.flows.follow(seen, is_from_vm=True)
            addressed = stories.get(seen.receiver) or stories.get(by_ip.get(seen.ip_to, b""))
            if addressed is not None and addressed is not story:
                _keep(addressed, addressed.received, passage)
                addressed.flows.follow(seen, is_from_vm=False)
            claimed = by_ip.get(seen.ip_from) if seen.kind in CLAIMS else None
            if claimed and claimed != seen.sender:
                _keep(stories[claimed], stories[claimed].claimed, passage)


def _apart(one: dict[int, float], other: dict[int, float]) -> float | None:
    """What must be added to the other's times; none when too few frames are in both."""
    apart = [one[identity] - other[identity] for identity in one.keys() & other.keys()]
    return median(apart) if len(apart) >= ALIKE else None


def _keep(story: Story, kept: list[Passage], passage: Passage) -> None:
    """Dense traffic by the same way is thinned; when there is too much, what comes later is left out."""
    if len(kept) >= PASSAGES_MAX:
        story.is_cut = True
        return
    if kept and passage.kind in (Kind.tcp, Kind.udp):
        last = kept[-1]
        if passage.at_ms - last.at_ms < THINNED_MS and last.kind is passage.kind and _way(last) == _way(passage):
            return
    kept.append(passage)


def _way(passage: Passage) -> tuple[object, ...]:
    first = passage.first
    return tuple(sorted(passage.places)), first.receiver, first.ip_to, first.vlans, first.length > 1000


def _passages(sights: Iterable[Sight], coverage: list[Coverage]) -> Iterator[Passage]:
    """Frames in order of time; the same one at several places is one. Each comes when it can be seen nowhere more."""
    open_by_identity: OrderedDict[int, Passage] = OrderedDict()
    waiting: list[Passage] = []
    head = 0
    for seen in sights:
        _cover(coverage[seen.place], seen)
        passage = open_by_identity.get(seen.identity)
        if passage and seen.at_ms - passage.at_ms <= SAME_FRAME_MS and seen.place not in passage.places:
            passage.places[seen.place] = seen.number
        else:
            passage = Passage(seen, {seen.place: seen.number}, [], [])
            open_by_identity[seen.identity] = passage
            open_by_identity.move_to_end(seen.identity)
            waiting.append(passage)
        if seen.is_outgoing is not None:
            (passage.left if seen.is_outgoing else passage.entered).append(seen.place)
        while head < len(waiting) and (
            seen.at_ms - waiting[head].at_ms > SAME_FRAME_MS or len(waiting) - head > WAITING_MAX
        ):
            yield waiting[head]
            if open_by_identity.get(waiting[head].first.identity) is waiting[head]:
                del open_by_identity[waiting[head].first.identity]
            head += 1
        if head > 1024:
            del waiting[:head]
            head = 0
    yield from waiting[head:]


def _cover(coverage: Coverage, seen: Sight) -> None:
    coverage.first_ms = coverage.first_ms or seen.at_ms
    coverage.last_ms = max(coverage.last_ms, seen.at_ms)
    if seen.is_to_many and len(coverage.heard) < HEARD_MAX:
        coverage.heard.append((seen.at_ms, seen.sender, seen.is_outgoing is False))

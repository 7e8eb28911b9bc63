"""What captures tell of one VM: the frames it sent, those sent to it, where each was seen, and its moves."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

from godwit.diagnosis.flows import Flows
from godwit.diagnosis.sight import ANNOUNCEMENTS, Kind, Sight, text


class Place(NamedTuple):
    """One interface at which one capture saw frames."""

    file: int
    name: str


@dataclass(slots=True)
class Passage:
    """One frame on its way, wherever it was seen."""

    first: Sight
    places: dict[int, int]
    """Packet number by place."""
    entered: list[int]
    """The places where it came in; only captures that tell the direction know."""
    left: list[int]

    @property
    def at_ms(self) -> float:
        return self.first.at_ms

    @property
    def kind(self) -> Kind:
        return self.first.kind

    @property
    def is_announcement(self) -> bool:
        return self.first.kind in ANNOUNCEMENTS

    @property
    def number(self) -> int:
        """At the place that saw it first."""
        return self.first.number


@dataclass
class Coverage:
    """When a place was recorded, and what else it heard."""

    first_ms: float = 0.0
    last_ms: float = 0.0
    heard: list[tuple[float, bytes, bool]] = field(default_factory=list)
    """When frames to many passed there, who sent them, and whether they came in: the first, if there are very many."""

    def heard_others(self, mac: bytes, start_ms: float, end_ms: float, *, leaving: bool = False) -> bool:
        """Frames to many from other machines than that one passed between those times.

        `leaving`: only those that whoever is behind that place heard as well.
        """
        return any(
            start_ms <= at_ms <= end_ms and sender != mac and not (leaving and came_in)
            for at_ms, sender, came_in in self.heard
        )

    def spans(self, start_ms: float, end_ms: float) -> bool:
        """It was recorded all that time."""
        return bool(self.first_ms) and self.first_ms <= start_ms and self.last_ms >= end_ms


@dataclass
class Move:
    """The VM's change of place, as far as the captures show it."""

    at_ms: float
    """Its first sign at the new place."""
    silence_ms: float = 0.0
    """How long the VM had said nothing before."""
    unanswered: list[Passage] = field(default_factory=list)
    port_before: int | None = None
    port_after: int | None = None
    announcements: list[Passage] = field(default_factory=list)
    is_certain: bool = True
    """Its port changed or it was announced; else it only fell silent and came back."""


@dataclass
class Story:
    """All that the captures tell of one VM."""

    mac: bytes
    places: list[Place]
    coverage: list[Coverage]
    machines: frozenset[bytes] = frozenset()
    """Every MAC address that sent anything."""
    ips: set[bytes] = field(default_factory=set)
    sent: list[Passage] = field(default_factory=list)
    """By the VM, in order of time; dense traffic is thinned."""
    received: list[Passage] = field(default_factory=list)
    """By its MAC address or by one of its IP addresses."""
    claimed: list[Passage] = field(default_factory=list)
    """Frames of other machines that claim one of its IP addresses."""
    flows: Flows = field(default_factory=Flows)
    moves: list[Move] = field(default_factory=list)
    is_cut: bool = False
    """There was more than is kept."""

    @property
    def name(self) -> str:
        return text(self.mac)

    @property
    def start_ms(self) -> float:
        return min((each.first_ms for each in self.coverage if each.first_ms), default=0.0)

    def port_name(self, port: int | None) -> str:
        """For people."""
        return "a place that was not captured" if port is None else self.places[port].name


def is_asking(passage: Passage) -> bool:
    """The one who sent it expects an answer."""
    seen = passage.first
    if seen.segment is not None:
        return bool(seen.segment.payload_bytes or seen.segment.flags & 0x02)
    return seen.kind in (Kind.arp_request, Kind.icmp)

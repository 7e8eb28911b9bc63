"""What hosts tell of a move that has been handed over: its relay, and how the network learned the new place."""

from __future__ import annotations

from godwit.core.guest import Greeted
from godwit.core.model import Fact, Name
from godwit.core.report import Announcement, ConnectionReport, FlowReport, RelayEnd


class Sighted(Fact):
    """A frame of the VM that came in by an uplink of its old host: the network has learned its new place."""

    kind: str
    by: Name
    at_unix_ms: float


class Relayed(Fact):
    """What the source's relay of the VM's frames has done so far."""

    frames_replayed: int = 0
    frames_drained: int = 0
    frames_held: int = 0
    frames_late: int = 0
    frames_relayed: int = 0
    sighted: tuple[Sighted, ...] = ()
    """The first of each kind."""
    learned_at_unix_ms: float | None = None
    """What this host sends to the VM by its uplinks arrives at the new place."""
    removed_at_unix_ms: float | None = None
    ended: RelayEnd | None = None
    """None: it stands."""


class Settled(Fact):
    """What the destination told the network so far."""

    announcements: tuple[Announcement, ...] = ()
    """`at_ms` here is relative to RESUME."""
    left_by: tuple[str, ...] = ()
    """The interfaces by which they left the destination."""
    relayed: Relayed = Relayed()
    """What the source's relay did, once it was asked."""
    settled: bool = False
    connections: tuple[ConnectionReport, ...] | None = None
    """What clients saw, once both sides were asked; none: not observed, or not yet."""
    flows: tuple[FlowReport, ...] | None = None
    saw_all: bool = True
    """Of these: no frame was missed."""
    greeted: Greeted = Greeted()
    """What became of the guest, once that is known."""

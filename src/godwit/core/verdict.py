"""What became of a move, from what its two hosts say: their journals, never the clock."""

from __future__ import annotations

from enum import StrEnum

from godwit.core.model import Fact, Name
from godwit.core.ownership import Ownership

S = Ownership


class QemuSeen(StrEnum):
    """What a host has of the VM."""

    none = "none"
    dead = "dead"
    frozen = "frozen"
    running = "running"
    silent = "silent"
    """It lives and does not answer."""


class Statement(Fact):
    """What one host knows of one move: by its journal, and by a look at its QEMU."""

    host: Name
    state: Ownership | None = None
    """The last one written about that move; none: it was never offered here, nor awaited."""
    now: Ownership
    """What the journal says last, of whatever move."""
    qemu: QemuSeen
    alarm: str = ""
    """What a person must look at here."""
    proof: str = ""
    """What a person said when settling it."""

    def __str__(self) -> str:
        """For a person."""
        said = f"the journal of {self.host} says {self.state or 'nothing of it'}, its QEMU is {self.qemu}"
        return f"{said} ({self.alarm})" if self.alarm else said


class Verdict(StrEnum):
    """Where the VM is, or is going without anybody's help."""

    moved = "moved"
    """It runs at the destination, or did."""
    stayed = "stayed"
    """It is the source's, which runs it, or did, or is about to."""
    lost = "lost"
    """No copy is left that may run."""
    unknown = "unknown"
    """The hosts have not said enough, or wait for each other, or for a person."""


def verdict(source: Statement | None, destination: Statement | None) -> Verdict:
    """From what the hosts say (none: nothing). One word is enough: there is one token, and its holder knows it."""
    if source is not None and source.state == S.done:
        return Verdict.moved
    if destination is not None and destination.state in {S.running, S.died}:
        return Verdict.moved
    if source is None:
        return Verdict.unknown
    if source.state in {S.own, S.offer, S.reclaim, S.died}:
        return Verdict.stayed
    if source.state is None and source.now in {S.own, S.running, S.died}:
        return Verdict.stayed
    if source.state == S.lost and source.qemu not in {QemuSeen.frozen, QemuSeen.silent}:
        return Verdict.lost
    return Verdict.unknown

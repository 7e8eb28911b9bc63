"""A migration as the operator sees it: what was asked, what is known so far, what happened."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import Any

from pydantic import Field

from godwit.core.phase import ENDED, Phase
from godwit.core.value import DiskFormat, Fact, Name, Rounded, Value


class Compress(StrEnum):
    """Whether the memory stream is compressed."""

    auto = "auto"
    """Where the link is what limits it, and CPUs have nothing else to do."""
    off = "off"
    zstd = "zstd"


class Kind(StrEnum):
    """How a VM is moved."""

    live = "live"
    """It runs on at another host; its disks go with it or stay where both see them."""
    storage = "storage"
    """It runs on where it is; its disks go."""
    cold = "cold"
    """It is off meanwhile."""


class MigrationRequest(Value):
    """What a person asks for: goals, not knobs."""

    vm: Name
    destination: Name | None = None
    """None: the manager chooses the host with the most free memory."""
    max_blackout_ms: int = Field(default=300, ge=1, le=2_000_000)
    deadline_s: float | None = Field(default=None, gt=0)
    """For the whole migration; none: only the phases' own deadlines apply."""
    bandwidth_bytes_per_s: int | None = Field(default=None, gt=0)
    """Cap on the copying of memory and of disks; none: what the link gives."""
    datastore: Name | None = None
    """Where its disks go; none: they stay where they are."""
    disks: dict[Name, Name] = {}
    """Where single disks go: a datastore by the disk's name."""
    format: DiskFormat | None = None
    """Of the disks that go; none: as they are."""
    cold: bool = False
    """The VM is off while it is moved."""
    shut_down: bool = False
    """With `cold`: a VM that runs is shut down before, and started where it is then."""
    parallel: int | None = Field(default=None, ge=1, le=64)
    """At most so many migrations at once on each host it touches, in its direction; none: as many as converge."""
    compress: Compress = Compress.auto
    plaintext: bool = False
    """Memory is sent as it is, for a migration network that nobody else can listen to."""
    post_copy: bool = False
    """Allowed where a lost link cannot lose the VM; see docs/blackout.md."""
    notify_s: float | None = Field(default=None, gt=0, le=600)
    """The guest is told before and after, through its guest agent, and given so long to get ready; none: not told."""
    force: bool = False
    """Blockers that can be overridden (docs/checks.md) stand in the way no longer; the others do."""


class SettleRequest(Value):
    """What a person says of a migration in doubt."""

    runs_on: str
    """One of its two hosts, or `none`: what is left of the VM runs nowhere."""
    proof: str = Field(min_length=1, max_length=1000)
    """How it is known that the other host cannot run it."""


class DiskProgress(Value):
    """How far the copying of one disk is."""

    disk: Name
    copied_bytes: int
    """Of which zeros are copied without being sent."""
    total_bytes: int


class Progress(Value):
    """How far the copying of memory is."""

    pass_number: int
    transferred_bytes: int
    remaining_bytes: int
    total_bytes: int
    bandwidth_bytes_per_s: int
    """Of the memory stream, smoothed."""
    dirty_bytes_per_s: int
    predicted_blackout_ms: Rounded | None = None
    time_left_s: Rounded | None = None
    """Until the switch-over, the passes to come included."""
    throttle_percent: int = 0
    """How much the guest is slowed down."""
    disks: tuple[DiskProgress, ...] = ()
    """While they are copied, which comes before memory; the bytes above are then theirs."""


class EventKind(StrEnum):
    """What may happen to a migration, in the past tense."""

    phase_entered = "phase-entered"
    foreseen = "foreseen"
    progressed = "progressed"
    pass_completed = "pass-completed"
    decided = "decided"
    stopped = "stopped"
    completed = "completed"
    given = "given"
    loaded = "loaded"
    resumed = "resumed"
    announced = "announced"
    retired = "retired"
    settled = "settled"
    observed = "observed"
    answered = "answered"
    disk_copied = "disk-copied"
    warned = "warned"
    ended = "ended"


class Event(Fact):
    """One thing that happened; log, feed, report and metrics are all made from these."""

    sequence: int = 0
    """Counts up within one migration; resume a stream by naming the last one seen."""
    migration: str = ""
    at: datetime
    at_ms: Rounded = 0.0
    """Since the migration's start."""
    kind: EventKind
    text: str
    """One line for a person."""
    phase: Phase | None = None
    progress: Progress | None = None
    data: dict[str, Any] = Field(default_factory=dict)


class Migration(Fact):
    """The record of one migration; the store holds it, every face shows it."""

    id: str
    vm: Name
    source: Name
    destination: Name
    phase: Phase = Phase.pending
    attempt: int = 1
    epoch: int = 0
    """Counts the moves of this VM; a message of an older one is answered, never obeyed."""
    kind: Kind = Kind.live
    request: MigrationRequest
    started_at: datetime
    ended_at: datetime | None = None
    waited_ms: Rounded = 0.0
    """Of the time between, for its turn."""
    error: str | None = None
    error_kind: str | None = None
    progress: Progress | None = None
    settled: bool = False
    rehearsal: bool = False
    """Of a throw-away VM, whose figures tell nothing of others."""
    settled_by_hand: str | None = None
    """What a person said of where the VM runs, and why."""

    @property
    def is_ended(self) -> bool:
        """No attempt will act on it again."""
        return self.phase in ENDED

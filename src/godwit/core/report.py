"""The report of a migration: every field is defined here and nowhere else.

Times are in milliseconds: `at_ms` of the timeline and of announcements is relative to the source's STOP where it
lies in the hand-over (negative: before), `total_ms` to the start of the migration.
"""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import Literal

from pydantic import ConfigDict, Field

from godwit.core.finding import Finding
from godwit.core.guest import GuestClock, Notice
from godwit.core.looked import Pulse
from godwit.core.migration import Kind
from godwit.core.model import Fact
from godwit.core.value import Rounded
from godwit.core.wording import size


class Forecast(Fact):
    """What was predicted before the start, and what it rests on; but for `switch_blackout_ms`."""

    total_ms: Rounded | None = None
    blackout_ms: Rounded | None = None
    stall_ms: Rounded | None = None
    """The longest silence of a client: the blackout, and until the guest answers again."""
    transferred_bytes: int | None = None
    passes: int | None = None
    throttle_percent: int = 0
    """How much the guest will be slowed down."""
    link_bytes_per_s: int | None = None
    link_age_s: int = 0
    """Since the link was measured."""
    dirty_bytes_per_s: int | None = None
    working_set_bytes: int | None = None
    vcpu_share: Rounded | None = None
    """The part of its vCPUs' time that the guest used just before."""
    disks_ms: Rounded | None = None
    """Of the total, what its disks take."""
    disk_bytes: int | None = None
    """What they hold."""
    switch_blackout_ms: Rounded | None = None
    """When the switch-over was decided."""

    @property
    def sentence(self) -> str:
        """For a person."""
        whole = f"{_time(self.total_ms or 0)} in all"
        if self.disk_bytes:
            whole += f", {_time(self.disks_ms or 0)} of them for {size(self.disk_bytes)} of disks"
        if self.blackout_ms is None:
            return whole
        slowed = f", the guest slowed down by {self.throttle_percent} %" if self.throttle_percent else ""
        aged = f"; the link was measured {_time(1000 * self.link_age_s)} before" if self.link_age_s else ""
        return (
            f"{whole}, blackout {self.blackout_ms:.0f} ms, clients wait "
            f"{self.stall_ms or 0:.0f} ms; {size(self.transferred_bytes or 0)} in {self.passes or 0} "
            f"pass{'es' if self.passes != 1 else ''} over {size(self.link_bytes_per_s or 0)}/s{slowed}{aged}"
        )


def _time(time_ms: float) -> str:
    """In the unit that suits it, from seconds up."""
    if time_ms < 600_000:
        return f"{time_ms / 1000:.1f} s"
    return f"{time_ms / 60_000:.0f} min" if time_ms < 36_000_000 else f"{time_ms / 3_600_000:.0f} h"


class DryRun(Fact):
    """What a migration would take, and what a check of it found."""

    vm: str
    source: str
    destination: str
    forecast: Forecast
    findings: tuple[Finding, ...] = ()


class PassReport(Fact):
    """One round of pre-copy."""

    number: int
    remaining_bytes: int
    """What was still to send when the pass ended."""
    dirty_rate: int
    """Bytes per second that the guest dirtied during the pass."""
    bandwidth: int
    """Bytes per second of the memory stream during the pass."""
    throttle_percent: int = 0
    """How much the guest was slowed down."""
    at_ms: Rounded = 0.0
    """When it ended, since the copying began; 0: not known."""


class Announcement(Fact):
    """One telling of the VM's new place to the network."""

    kind: str
    at_ms: Rounded
    vlan: int | None = None
    """None: untagged."""
    witnessed_by: tuple[str, ...] = ()


class RelayEnd(StrEnum):
    """Why a relay was taken down."""

    learned = "learned"
    """The network sends the VM's frames to its new place."""
    moved_on = "moved-on"
    """The VM has moved again."""
    unwitnessed = "unwitnessed"
    """Its longest time was over, and nobody had seen the new place."""


class NetworkReport(Fact):
    """What the hand-over of the network did."""

    frames_drained: int = 0
    """Taken out of the source's tap after STOP and sent after the VM."""
    frames_replayed: int = 0
    """Sent again because the source's QEMU may have read and not delivered them; the guest may see them twice."""
    frames_relayed: int = 0
    """That came to the source's bridge after STOP and went to the destination by the relay."""
    frames_held: int = 0
    """That came while those before them were being sent, and waited for them, so that the order was kept."""
    frames_late: int = 0
    """That came in the moment in which the relay was opened: some of those behind them may have overtaken them."""
    announcements: tuple[Announcement, ...] = ()
    witnessed_at_ms: Rounded | None = None
    """A frame of the VM came to its old host by an uplink."""
    learned_at_ms: Rounded | None = None
    """What its old host sends to the VM by that uplink arrives at the new one."""
    relay_removed_at_ms: Rounded | None = None
    relay_ended: RelayEnd | None = None
    """Why; none: it stands."""
    warning: str | None = None
    """What is wrong with the network, and which hop saw the announcements last."""


class ConnectionReport(Fact):
    """What one TCP connection went through."""

    client: str
    server: str
    longest_silence_ms: Rounded
    """Of the VM, while its peer waited for a word of it; seen at the VM's taps."""
    peer_silence_ms: Rounded = 0.0
    """Of its peer, while the VM waited."""
    retransmissions: int
    """In both directions; a frame that the relay sent twice is none."""
    zero_windows: int = 0
    """Segments that told the other side to send nothing."""
    resets: int
    reset_by: Literal["vm", "peer"] | None = None
    """Whose side sent the first one."""
    survived: bool
    """Not reset, and not left without an answer."""


class FlowReport(Fact):
    """What one flow of UDP datagrams went through."""

    vm: str
    peer: str
    frames_from_vm: int
    frames_to_vm: int
    longest_silence_ms: Rounded
    """Between two datagrams of the VM, whether or not somebody waited."""


class DiskReport(Fact):
    """What one disk that went became."""

    model_config = ConfigDict(frozen=True, extra="ignore", populate_by_name=True, serialize_by_alias=True)

    disk: str
    source: str = Field(alias="from")
    """Where its file, or its LUN, was."""
    to: str
    copied_bytes: int
    """What it held; later writes, which went to both, are not counted."""
    skipped_bytes: int
    """The rest: zeros, which were not sent."""
    ms: Rounded
    """Until the copy was equal for the first time."""


class TimelineEntry(Fact):
    """One event of the hand-over."""

    at_ms: Rounded
    event: str


class BlackoutParts(Fact):
    """Where a blackout went, one part after the other; loading overlaps sending, and is what is left of it then."""

    send_ms: Rounded
    """STOP until the source's QEMU had sent all: what remained of memory, and devices, which it saves for that."""
    load_ms: Rounded
    """Until the destination's QEMU had loaded it."""
    agree_ms: Rounded
    """Until its agent told it to run: the source's word, the journal, the network."""
    start_ms: Rounded
    """Until its vCPUs ran."""

    @property
    def sentence(self) -> str:
        """For a person."""
        return (
            f"sending {self.send_ms:.1f} ms, loading {self.load_ms:.1f} ms, agreeing {self.agree_ms:.1f} ms, "
            f"starting {self.start_ms:.1f} ms"
        )


class Report(Fact):
    """What happened, field by field and stable: other programs read it."""

    id: str
    vm: str
    kind: Kind = Kind.live
    source: str
    destination: str
    outcome: Literal["done", "failed", "cancelled", "in-doubt", "lost"]
    settled: bool = False
    started_at: datetime
    total_ms: Rounded
    """From the request's start to its end."""
    waited_ms: Rounded = 0.0
    """Of it, for its turn, of which no forecast tells."""
    blackout_ms: Rounded | None = None
    """Source vCPUs stopped (STOP) until destination vCPUs run (RESUME), on one clock; none: they never stopped."""
    blackout_parts: BlackoutParts | None = None
    clock_error_ms: Rounded | None = None
    """Bound on the error of `blackout_ms` from comparing two hosts' clocks: half the best round trip."""
    forecast: Forecast = Forecast()
    passes: tuple[PassReport, ...] = ()
    transferred_bytes: int = 0
    network: NetworkReport = NetworkReport()
    connections: tuple[ConnectionReport, ...] | None = None
    """Those seen at the VM's taps from two seconds before STOP to five after RESUME; none: not observed."""
    flows: tuple[FlowReport, ...] | None = None
    """The same for UDP."""
    saw_all: bool = True
    """False: some frames were not recorded for want of room, and `connections` and `flows` may tell too little."""
    pulse: Pulse | None = None
    """How the VM was after its move; none: not looked at."""
    notices: tuple[Notice, ...] = ()
    """What the guest was told."""
    guest_clock: GuestClock | None = None
    """Just after the move; none: no guest agent told."""
    findings: tuple[Finding, ...] = ()
    """What the checks before it warned of, and the blockers that `--force` went over."""
    disks: tuple[DiskReport, ...] = ()
    """Those that went."""
    timeline: tuple[TimelineEntry, ...] = ()
    error: str | None = None
    stopped_at_ms: Rounded | None = None
    """The source's STOP in Unix time: where the timeline's zero lies; none: the zero is the start."""

"""Makes the report of a migration from what the diary kept."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, cast

from godwit.contract.host import HandedOver, Relayed, Settled
from godwit.core.finding import Finding
from godwit.core.guest import Notice
from godwit.core.looked import Pulse
from godwit.core.migration import Event, EventKind, Migration
from godwit.core.milestones import parts
from godwit.core.phase import Phase
from godwit.core.report import (
    Announcement,
    DiskReport,
    Forecast,
    NetworkReport,
    RelayEnd,
    Report,
    TimelineEntry,
)

FRAMES = {
    "rarp": {"rarp"},
    "gratuitous-arp": {"arp"},
    "unsolicited-na": {"ipv6"},
    "announce-self": {"rarp", "arp", "ipv6"},
}
"""The kinds of frame by which a witness knows each announcement."""
GOOD_ENDS = (RelayEnd.learned, RelayEnd.moved_on)
"""Of a relay that was needed no more."""
UNSEEN_AFTER_MS = 4000.0
"""After RESUME: the announcements of the first two seconds were not enough."""
SLACK_MS = 5.0
"""Two hosts' clocks, and the time from the decision to send to the wire."""

Outcome = Literal["done", "failed", "cancelled", "in-doubt", "lost"]


def compose(
    migration: Migration,
    events: Sequence[Event],
    handed: HandedOver | None,
    settled: Settled | None,
    *,
    forecast: Forecast | None = None,
) -> Report:
    """The report as far as it can be told now; an unfinished migration reads as in doubt."""
    outcome = migration.phase.value if migration.is_ended else Phase.in_doubt.value
    base = Report(
        id=migration.id,
        vm=migration.vm,
        kind=migration.kind,
        source=migration.source,
        destination=migration.destination,
        outcome=cast(Outcome, outcome),
        settled=bool(settled and settled.settled),
        started_at=migration.started_at,
        total_ms=_total_ms(migration, events),
        waited_ms=migration.waited_ms,
        forecast=forecast or Forecast(),
        timeline=tuple(TimelineEntry(at_ms=event.at_ms, event=event.text) for event in _told(events)),
        transferred_bytes=max((e.progress.transferred_bytes for e in events if e.progress), default=0),
        findings=tuple(Finding.model_validate(e.data["finding"]) for e in events if "finding" in e.data),
        pulse=next((Pulse.model_validate(e.data["pulse"]) for e in events if "pulse" in e.data), None),
        notices=tuple(Notice.model_validate(e.data["notice"]) for e in events if "notice" in e.data),
        disks=_disks(events),
        error=migration.error,
    )
    return _with_hand_over(base, handed, settled) if handed else base


def _with_hand_over(base: Report, handed: HandedOver, settled: Settled | None) -> Report:
    stop_ms = handed.stopped_at_ms - base.started_at.timestamp() * 1000
    entries = [TimelineEntry(at_ms=e.at_ms - stop_ms, event=e.event) for e in base.timeline]
    return base.model_copy(
        update={
            "blackout_ms": handed.blackout_ms,
            "blackout_parts": parts(handed.timeline),
            "clock_error_ms": handed.clock_error_ms,
            "forecast": base.forecast.model_copy(update={"switch_blackout_ms": handed.predicted_blackout_ms}),
            "passes": handed.passes,
            "transferred_bytes": handed.transferred_bytes,
            "timeline": tuple(sorted((*entries, *handed.timeline), key=lambda e: e.at_ms)),
            "notices": (*base.notices, *([settled.greeted.notice] if settled and settled.greeted.notice else [])),
            "guest_clock": settled.greeted.clock if settled else None,
            "network": _network(base, handed, settled) if settled else NetworkReport(),
            "connections": settled.connections if settled else None,
            "flows": settled.flows if settled else None,
            "saw_all": settled.saw_all if settled else True,
            "stopped_at_ms": handed.stopped_at_ms,
        }
    )


def _network(base: Report, handed: HandedOver, settled: Settled) -> NetworkReport:
    """Hosts tell announcements relative to RESUME and the rest in Unix time; reports tell all relative to STOP."""
    relayed, stop_ms = settled.relayed, handed.stopped_at_ms
    seen_ms = [each.at_unix_ms - stop_ms for each in relayed.sighted]
    removed_ms, learned_ms = relayed.removed_at_unix_ms, relayed.learned_at_unix_ms
    return NetworkReport(
        frames_drained=relayed.frames_drained,
        frames_replayed=relayed.frames_replayed,
        frames_held=relayed.frames_held,
        frames_late=relayed.frames_late,
        frames_relayed=relayed.frames_relayed,
        announcements=tuple(_announcement(each, handed, relayed) for each in settled.announcements),
        witnessed_at_ms=min(seen_ms, default=None),
        learned_at_ms=learned_ms - stop_ms if learned_ms else None,
        relay_removed_at_ms=removed_ms - stop_ms if removed_ms else None,
        relay_ended=relayed.ended,
        warning=_warning(base, settled),
    )


def _warning(base: Report, settled: Settled) -> str | None:
    """Said once the announcements of the first seconds were not enough."""
    relayed = settled.relayed
    told_for_ms = max((each.at_ms for each in settled.announcements), default=0.0)
    if relayed.learned_at_unix_ms or relayed.ended in GOOD_ENDS or told_for_ms < UNSEEN_AFTER_MS:
        return None
    if relayed.sighted:
        where = f"{base.source} saw them, but the switch before it still sends the VM's frames there"
    else:
        ports = " and ".join(settled.left_by) or "no interface"
        where = f"they left {base.destination} by {ports}, and {base.source} never saw them"
    what = "relays no more, so connections may break" if relayed.ended else "relays its frames meanwhile"
    return (
        f"the network has not learned the new place of {base.vm} from its announcements: {where}; "
        f"look at the switch behind that (learning, port security, VLAN); {base.source} {what}"
    )


def _announcement(announcement: Announcement, handed: HandedOver, relayed: Relayed) -> Announcement:
    """Its witnesses are the hosts that saw a frame of its kind after it was sent."""
    at_ms = announcement.at_ms + handed.blackout_ms
    kinds = FRAMES[announcement.kind]
    seen = [
        s.by for s in relayed.sighted if s.kind in kinds and s.at_unix_ms - handed.stopped_at_ms >= at_ms - SLACK_MS
    ]
    return announcement.model_copy(update={"at_ms": at_ms, "witnessed_by": tuple(dict.fromkeys(seen))})


def _total_ms(migration: Migration, events: Sequence[Event]) -> float:
    end = migration.ended_at or (events[-1].at if events else migration.started_at)
    return (end - migration.started_at).total_seconds() * 1000


def _told(events: Sequence[Event]) -> list[Event]:
    """Progress ticks are for the bar, not for the report."""
    return [event for event in events if event.progress is None]


def _disks(events: Sequence[Event]) -> tuple[DiskReport, ...]:
    """Each as it was told of last: a manager that takes a move up hears of what was copied before."""
    found = (DiskReport.model_validate(each.data) for each in events if each.kind is EventKind.disk_copied)
    return tuple({each.disk: each for each in found}.values())

"""A report for people."""

from __future__ import annotations

from pathlib import Path

from godwit.cli.show import print_pairs, print_table
from godwit.cli.units import format_ms
from godwit.core.errors import Refused
from godwit.core.report import NetworkReport, Report
from godwit.core.wording import size
from godwit.diagnosis.reporting import verdict

TOLD_MS = 100.0
"""Waiting for a turn that took less is not worth a word."""


def write_html(report: Report, file: Path) -> None:
    """The file is a page that tells of this migration; `Refused` if it cannot be written."""
    from godwit.client.picture import report_html

    try:
        file.write_text(report_html([report], [], []), encoding="utf-8")
    except OSError as error:
        raise Refused(f"{file} cannot be written: {error.strerror}; name another file with --html", "html") from error


def print_report(report: Report) -> None:
    """What happened, the most important first."""
    print_pairs(
        [
            ("migration", f"{report.id}: {report.vm}, {report.source} -> {report.destination}"),
            ("outcome", report.outcome + ("" if report.error is None else f": {report.error}")),
            ("settled", report.settled),
            ("started", report.started_at),
            ("total", f"{format_ms(report.total_ms)}{_waited(report)}{_predicted(report.forecast.total_ms)}"),
            ("blackout", f"{_blackout(report)}{_predicted(report.forecast.blackout_ms)}"),
            ("transferred", size(report.transferred_bytes)),
            ("connections", verdict(report.connections, saw_all=report.saw_all)),
            ("frames", _frames(report.network)),
            ("relay", _relay(report.network)),
            *_guest(report),
        ]
    )
    if report.blackout_parts:
        print(f"\nThe blackout: {report.blackout_parts.sentence}.")
    if report.network.warning:
        print(f"\nwarning: {report.network.warning}")
    _print_details(report)


def _print_details(report: Report) -> None:
    if report.passes:
        print()
        rows = [
            (each.number, size(each.remaining_bytes), _rate(each.dirty_rate), _rate(each.bandwidth))
            for each in report.passes
        ]
        print_table(("PASS", "REMAINING", "DIRTIED", "SENT"), rows)
    if report.disks:
        print()
        columns = ("DISK", "FROM", "TO", "COPIED", "SKIPPED", "IN")
        went = [
            (d.disk, d.source, d.to, size(d.copied_bytes), size(d.skipped_bytes), format_ms(d.ms)) for d in report.disks
        ]
        print_table(columns, went)
    if report.network.announcements:
        print()
        told = [(a.kind, a.vlan or "-", f"{a.at_ms:.1f} ms", a.witnessed_by) for a in report.network.announcements]
        print_table(("ANNOUNCEMENT", "VLAN", "AFTER STOP", "WITNESSED BY"), told)
    if report.connections:
        print()
        columns = ("CLIENT", "SERVER", "LONGEST SILENCE", "RETRANSMISSIONS", "RESETS", "SURVIVED")
        seen = [
            (c.client, c.server, format_ms(c.longest_silence_ms), c.retransmissions, c.resets, c.survived)
            for c in report.connections
        ]
        print_table(columns, seen)
    if report.timeline:
        print()
        print_table(("AT", "EVENT"), [(f"{each.at_ms:.1f} ms", each.event) for each in report.timeline])


def _blackout(report: Report) -> str:
    error = "" if report.clock_error_ms is None else f" +/- {report.clock_error_ms:.1f} ms"
    return format_ms(report.blackout_ms) + error


def _frames(network: NetworkReport) -> str:
    counts = {"drained": network.frames_drained, "sent twice": network.frames_replayed, "held": network.frames_held}
    counts |= {"late": network.frames_late, "relayed": network.frames_relayed}
    return ", ".join(f"{count} {name}" for name, count in counts.items())


def _relay(network: NetworkReport) -> str:
    if network.relay_removed_at_ms is None:
        return "stands, or there was none"
    return f"gone after {format_ms(network.relay_removed_at_ms)}: {network.relay_ended}"


def _guest(report: Report) -> list[tuple[str, str]]:
    """What was done for the guest, if anything was."""
    told = [f"{each.moment}: {each.why or each.heed} ({format_ms(each.ms)})" for each in report.notices]
    clock = report.guest_clock
    if clock is None or clock.skew_ms is None:
        shown = ""
    else:
        shown = f"{format_ms(abs(clock.skew_ms))} {'behind' if clock.skew_ms < 0 else 'ahead'}"
        shown += ", set" if clock.left_ms is not None else f", not set: {clock.why}" if clock.why else ""
    return [(name, text) for name, text in (("guest told", ", ".join(told)), ("guest clock", shown)) if text]


def _waited(report: Report) -> str:
    """Nothing where its turn came at once."""
    return "" if report.waited_ms < TOLD_MS else f", {format_ms(report.waited_ms)} of it for its turn"


def _predicted(time_ms: float | None) -> str:
    return "" if time_ms is None else f" (predicted {format_ms(time_ms)})"


def _rate(bytes_per_s: int) -> str:
    return f"{size(bytes_per_s)}/s"

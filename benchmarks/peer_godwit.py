"""`godwit migrate`, as a person runs it."""

from __future__ import annotations

import time

from benchmarks.place import GODWIT_VM, OTHER, Moved, Site
from godwit.core.errors import Failed, Refused, TimedOut
from godwit.core.milestones import Milestone
from godwit.core.report import Report

COPYING = "copying"


class Godwit:
    """One VM, moved by the command line; `flags` make variants of it."""

    def __init__(self, site: Site, name: str = "godwit", *flags: str) -> None:
        self.name = name
        self.vm = GODWIT_VM
        self._site = site
        self._flags = flags
        nic = site.lab.client.vm(self.vm).nics[0]
        assert nic.ip is not None
        self.address = str(nic.ip.ip)

    @property
    def host(self) -> str:
        """See `Peer`."""
        host = self._site.lab.client.vm(self.vm).host
        assert host is not None
        return host

    def hurried(self, deadline_s: float) -> Godwit:
        """The same, with a deadline."""
        return Godwit(self._site, self.name, *self._flags, "--deadline", f"{deadline_s:.0f}s")

    def migrate(self, *, limit_s: float) -> Moved:
        """See `Peer`."""
        there = OTHER[self.host]
        begun = time.monotonic()
        running = self._site.lab.start("migrate", self.vm, there, "--json", *self._flags)
        done = running.end()
        command_ms = 1000 * (time.monotonic() - begun)
        if done.status:
            kind = TimedOut if command_ms > 1000 * limit_s else Failed
            raise (Refused if done.status == Refused.exit_status else kind)(done.err.strip().splitlines()[-1])
        report = Report.model_validate_json(done.out)
        assert report.stopped_at_ms is not None
        assert report.blackout_ms is not None
        return Moved(
            stopped_ms=report.stopped_at_ms,
            resumed_ms=report.stopped_at_ms + report.blackout_ms,
            command_ms=command_ms,
            total_ms=_stream_ms(report),
            transferred_bytes=report.transferred_bytes,
            migration_ms=report.total_ms,
            forecast_total_ms=report.forecast.total_ms,
            forecast_blackout_ms=report.forecast.blackout_ms,
        )


def _stream_ms(report: Report) -> float | None:
    """From the copying's beginning to the source's completion."""
    at_ms = {entry.event: entry.at_ms for entry in report.timeline}
    return at_ms[Milestone.sent] - at_ms[COPYING] if {Milestone.sent, COPYING} <= at_ms.keys() else None

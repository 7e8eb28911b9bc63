"""The migrations of a manager: apart from all else, so that moving a VM need not wait for what it does not need."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from godwit.client.lean import httpx
from godwit.client.session import Session, error_in, quote
from godwit.core.errors import Unreachable
from godwit.core.migration import Event, EventKind, Migration, MigrationRequest, SettleRequest
from godwit.core.phase import Phase

if TYPE_CHECKING:
    from godwit.core.report import DryRun, Report

RESUME_TRIES = 20
RESUME_PAUSE_S = 0.5


class Migrations(Session):
    """Begun, followed, cancelled, settled, reported."""

    def migrations(self) -> list[Migration]:
        """All migrations, oldest first."""
        return self._ask("GET", "/migrations", list[Migration])

    def migration(self, id: str) -> Migration:
        """That migration."""
        return self._ask("GET", f"/migrations/{quote(id)}", Migration)

    def migrate(self, request: MigrationRequest, *, key: str | None = None) -> Migration:
        """A new migration, which goes on by itself; asked again with the same `key`, it is the same one for a day."""
        return self._ask("POST", "/migrations", Migration, body=request, key=key)

    def foresee(self, request: MigrationRequest) -> DryRun:
        """What that migration would take; nothing is touched."""
        from godwit.core.report import DryRun

        return self._ask("POST", "/migrations/forecast", DryRun, body=request)

    def cancel(self, id: str) -> Migration:
        """It is being undone; its events tell when that has ended. `Refused` once the vCPUs are being stopped."""
        return self._ask("DELETE", f"/migrations/{quote(id)}", Migration)

    def settle(self, id: str, request: SettleRequest) -> Migration:
        """It goes on from what a person said; `Refused` where its hosts know better."""
        return self._ask("POST", f"/migrations/{quote(id)}/settle", Migration, body=request)

    def report(self, id: str) -> Report:
        """What happened so far."""
        from godwit.core.report import Report

        return self._ask("GET", f"/migrations/{quote(id)}/report", Report)

    def report_text(self, id: str) -> str:
        """The same in the manager's own JSON, for who only hands it on: Python takes 50 ms to know a report."""
        return self._send("GET", f"/migrations/{quote(id)}/report").text

    def events(self, id: str, *, after: int = 0) -> Iterator[Event]:
        """All events after number `after`, those to come included, until it has ended or is in doubt.

        A broken connection is taken up again where it broke; `Unreachable` when that fails for some seconds.
        """
        tries = 0
        while True:
            try:
                for event in self._stream(id, after):
                    tries, after = 0, event.sequence
                    yield event
                    if event.kind is EventKind.ended or event.phase is Phase.in_doubt:
                        return
                if self.migration(id).is_ended:
                    return
            except (Unreachable, httpx.TransportError) as error:
                if tries == RESUME_TRIES:
                    raise self._unreachable(error) from error
            tries += 1
            self._pause(RESUME_PAUSE_S)

    def _stream(self, id: str, after: int) -> Iterator[Event]:
        from httpx_sse import connect_sse

        headers = {"Last-Event-ID": str(after)}
        with connect_sse(self._http, "GET", f"/migrations/{quote(id)}/events", headers=headers) as source:
            if source.response.is_error:
                source.response.read()
                raise error_in(source.response)
            for sent in source.iter_sse():
                if sent.data:  # none in the pings that keep an idle stream open
                    yield Event.model_validate_json(sent.data)

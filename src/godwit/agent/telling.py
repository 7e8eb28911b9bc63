"""What a migration tells while it goes on: kept, so that a listener may come late or come back."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any

from godwit.core.errors import GodwitError
from godwit.core.migration import Event, EventKind, Progress


class Telling:
    """Events in order, until it is finished, well or with an error."""

    def __init__(self, migration: str) -> None:
        self._migration = migration
        self._events: list[Event] = []
        self._error: GodwitError | None = None
        self._finished = False
        self._changed = asyncio.Event()

    def tell(self, kind: EventKind, text: str, *, progress: Progress | None = None, **data: Any) -> None:
        """The event is there for every listener."""
        event = Event(
            migration=self._migration, at=datetime.now(UTC), kind=kind, text=text, progress=progress, data=data
        )
        self._events.append(event)
        self._wake()

    @property
    def is_finished(self) -> bool:
        """Nobody hears anything more."""
        return self._finished

    def finish(self, error: GodwitError | None = None) -> None:
        """Listeners come to their end; with an error they raise it. Only the first call counts."""
        if not self._finished:
            self._finished, self._error = True, error
            self._wake()

    async def follow(self) -> AsyncIterator[Event]:
        """Every event from the first, until the end."""
        seen = 0
        while True:
            changed = self._changed
            while seen < len(self._events):
                seen += 1
                yield self._events[seen - 1]
            if self._finished:
                break
            await changed.wait()
        if self._error:
            raise self._error

    def _wake(self) -> None:
        changed, self._changed = self._changed, asyncio.Event()
        changed.set()

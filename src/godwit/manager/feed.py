"""The events of migrations: stored, told to observers, and followed live from any number on."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable

from godwit.contract.store import MigrationRecord
from godwit.core.migration import Event
from godwit.manager.records import Records

Observer = Callable[[MigrationRecord, Event], None]
"""Told each event after it was stored, with the record as it is then; must not wait."""


class Feed:
    """Every follower reads the store at its own pace and is woken when there is more: nothing is lost or told twice."""

    def __init__(self, records: Records, observers: tuple[Observer, ...] = ()) -> None:
        self._records = records
        self._observers = observers
        self._more = asyncio.Event()
        self._closed = False

    def tell(self, record: MigrationRecord, event: Event) -> None:
        """The event, which is stored, reaches all who follow."""
        self.observe(record, event)
        self._wake()

    def observe(self, record: MigrationRecord, event: Event) -> None:
        """Log and metrics know; whoever follows the migration does not, because it has ended."""
        for observer in self._observers:
            observer(record, event)

    async def follow(self, migration: str, *, after: int = 0) -> AsyncIterator[Event]:
        """All events after number `after`, those to come included, until the migration or the feed has ended."""
        while True:
            more, is_last = self._more, self._records.migration(migration).migration.is_ended or self._closed
            for event in await self._records.store.events(migration, after=after):
                yield event
                after = event.sequence
            if is_last:
                return
            await more.wait()

    def close(self) -> None:
        """All who follow have what there is, and end."""
        self._closed = True
        self._wake()

    def _wake(self) -> None:
        self._more.set()
        self._more = asyncio.Event()

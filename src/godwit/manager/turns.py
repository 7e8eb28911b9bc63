"""Whose turn it is: migrations wait here until the schedule lets them start."""

from __future__ import annotations

import asyncio

from godwit.contract.store import MigrationRecord
from godwit.core.migration import Event, EventKind
from godwit.core.model import MIB
from godwit.core.phase import ENDED, Phase
from godwit.core.schedule import Line, Wish, dirty_rate_of, rate_of, startable
from godwit.manager.records import Records

RECENT = 20
"""Of so many migrations that ended last the link's rate is learned."""

OFF_THE_LINK = frozenset({Phase.pending, Phase.settling, Phase.in_doubt, *ENDED})
"""A migration in one of these sends no memory."""


class Turns:
    """Those that wait, and those that were let go; `heard` must be told every event."""

    def __init__(self, records: Records) -> None:
        self._records = records
        self._waiting: dict[str, asyncio.Event] = {}
        self._let: set[str] = set()
        """Those whose phase does not say yet that they move."""

    def ask(self, id: str) -> bool:
        """That migration is in the row until it leaves; whether its turn is now."""
        turn = self._waiting[id] = asyncio.Event()
        self._look()
        return turn.is_set()

    async def wait(self, id: str) -> None:
        """The turn of a migration in the row has come."""
        await self._waiting[id].wait()

    def leave(self, id: str) -> None:
        """It is not in the row; its phase tells what it does."""
        del self._waiting[id]

    def heard(self, record: MigrationRecord, event: Event) -> None:
        """A place may be free."""
        if event.kind in {EventKind.phase_entered, EventKind.ended}:
            self._let.discard(record.id)
            self._look()

    def _look(self) -> None:
        if not self._waiting:
            return
        records = self._records.migrations
        moving = [each for each in records.values() if each.id in self._let or each.migration.phase not in OFF_THE_LINK]
        waiting = [self._wish(records[id]) for id, turn in self._waiting.items() if not turn.is_set()]
        for id in startable(waiting, map(self._wish, moving), self._rates()):
            self._let.add(id)
            self._waiting[id].set()

    def _wish(self, record: MigrationRecord) -> Wish:
        """What the VM's last migration, if there was one, says of this one."""
        migration = record.migration
        before = next((each for each in self._handed() if each.migration.vm == migration.vm), None)
        vm = self._records.vms.get(migration.vm)
        passes = before.handed.passes if before and before.handed else ()
        sent = before.handed.transferred_bytes if before and before.handed else 0
        return Wish(
            id=record.id,
            source=migration.source,
            destination=migration.destination,
            size_bytes=sent or (vm.spec.memory_mib * MIB if vm else 0),
            dirty_bytes_per_s=dirty_rate_of(passes),
            parallel=migration.request.parallel,
        )

    def _rates(self) -> dict[Line, int]:
        """The most that a recent stream had of each line: when several share it, each has only its part."""
        rates: dict[Line, int] = {}
        for record in self._handed()[:RECENT]:
            assert record.handed is not None
            rate = rate_of(record.handed.passes)
            if rate is not None and record.migration.request.bandwidth_bytes_per_s is None:
                migration = record.migration
                for line in (Line(migration.source, "out"), Line(migration.destination, "in")):
                    rates[line] = max(rate, rates.get(line, 0))
        return rates

    def _handed(self) -> list[MigrationRecord]:
        """Those that moved a VM, the newest first."""
        return [each for each in reversed(self._records.migrations.values()) if each.handed]

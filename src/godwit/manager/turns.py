"""Whose turn it is: migrations wait here until the schedule lets them start."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field

from godwit.contract.store import MigrationRecord
from godwit.core.errors import TimedOut
from godwit.core.migration import Event, EventKind
from godwit.core.model import MIB
from godwit.core.phase import DEADLINES_S, ENDED, Phase
from godwit.core.schedule import Line, Wish, dirty_rate_of, passed_by, rate_of, startable
from godwit.manager.records import Records

RECENT = 20
"""Of so many migrations that ended last the link's rate is learned."""

PATIENCE_S = DEADLINES_S[Phase.pending]
"""Those that move have deadlines of their own: however long the row is, one of them is heard of within that time."""

OFF_THE_LINK = frozenset({Phase.pending, Phase.settling, Phase.in_doubt, *ENDED})
"""A migration in one of these sends no memory."""


@dataclass
class _Place:
    """Of one migration in the row."""

    turn: asyncio.Event = field(default_factory=asyncio.Event)
    overtaken: int = 0
    patience: asyncio.Timeout | None = None


class Turns:
    """Those that wait, and those that were let go; `heard` must be told every event."""

    def __init__(self, records: Records) -> None:
        self._records = records
        self._waiting: dict[str, _Place] = {}
        """In the order in which they asked."""
        self._let: set[str] = set()
        """Those whose phase does not say yet that they move."""

    def ask(self, id: str) -> bool:
        """That migration is in the row until it leaves; whether its turn is now."""
        place = self._waiting[id] = _Place()
        self._look()
        return place.turn.is_set()

    async def wait(self, id: str) -> None:
        """The turn of a migration in the row has come; `TimedOut` if nothing was heard of any other for that long."""
        place = self._waiting[id]
        try:
            async with asyncio.timeout(PATIENCE_S) as place.patience:
                await place.turn.wait()
        except TimeoutError:
            raise TimedOut(
                f"it waited for its turn, and for {PATIENCE_S:.0f} s nothing was heard of any other migration: see "
                "`godwit migration list`"
            ) from None
        finally:
            place.patience = None

    def leave(self, id: str) -> None:
        """It is not in the row; its phase tells what it does."""
        del self._waiting[id]

    def heard(self, record: MigrationRecord, event: Event) -> None:
        """A place may be free, and who waits does not wait in vain."""
        for id, place in self._waiting.items():
            if place.patience and id != record.id and not place.patience.expired():
                place.patience.reschedule(asyncio.get_running_loop().time() + PATIENCE_S)
        if event.kind in {EventKind.phase_entered, EventKind.ended}:
            self._let.discard(record.id)
            self._look()

    def _look(self) -> None:
        if not self._waiting:
            return
        records = self._records.migrations
        moving = [each for each in records.values() if each.id in self._let or each.migration.phase not in OFF_THE_LINK]
        waiting = [self._wish(records[id]) for id, place in self._waiting.items() if not place.turn.is_set()]
        started = startable(waiting, map(self._wish, moving), self._rates())
        for id in started:
            self._let.add(id)
            self._waiting[id].turn.set()
        for id in passed_by(waiting, started):
            self._waiting[id].overtaken += 1

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
            overtaken=self._waiting[record.id].overtaken if record.id in self._waiting else 0,
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

"""A store that forgets everything when its process ends: for tests."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from godwit.contract.store import Change, MigrationRecord, VmRecord
from godwit.core.errors import Broken
from godwit.core.migration import Event


class MemoryStore:
    """Implements contract.store.Store."""

    def __init__(self) -> None:
        self._vms: dict[str, VmRecord] = {}
        self._migrations: dict[str, MigrationRecord] = {}
        self._events: dict[tuple[str, int], Event] = {}
        self._counters: Counter[str] = Counter()

    async def vms(self) -> Sequence[VmRecord]:
        """All VMs, by name."""
        return [self._vms[name] for name in sorted(self._vms)]

    async def migrations(self) -> Sequence[MigrationRecord]:
        """All migrations, in the order in which they were first stored."""
        return list(self._migrations.values())

    async def events(self, migration: str, /, *, after: int = 0) -> Sequence[Event]:
        """What happened to that migration after its event number `after`, in order."""
        numbers = sorted(number for owner, number in self._events if owner == migration and number > after)
        return [self._events[migration, number] for number in numbers]

    async def apply(self, change: Change, /) -> None:
        """All of the change is there, or none of it."""
        events = {(event.migration, event.sequence): event for event in change.events}
        if len(events) < len(change.events) or events.keys() & self._events.keys():
            raise Broken("an event was to be stored twice")
        self._events |= events
        self._vms |= {vm.name: vm for vm in change.vms}
        self._migrations |= {each.id: each for each in change.migrations}
        for name in change.forgotten:
            self._vms.pop(name, None)

    async def next_number(self, counter: str, /) -> int:
        """1, then 2, ..."""
        self._counters[counter] += 1
        return self._counters[counter]

    async def close(self) -> None:
        """Nothing to let go of."""

"""A store that forgets everything when its process ends: for tests."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from datetime import datetime

from godwit.contract.store import Answer, Change, HostRecord, MigrationRecord, VmRecord
from godwit.core.errors import Broken
from godwit.core.migration import Event
from godwit.core.model import Datastore


class MemoryStore:
    """Implements contract.store.Store."""

    def __init__(self) -> None:
        self._vms: dict[str, VmRecord] = {}
        self._datastores: dict[str, Datastore] = {}
        self._hosts: dict[str, HostRecord] = {}
        self._migrations: dict[str, MigrationRecord] = {}
        self._events: dict[tuple[str, int], Event] = {}
        self._counters: Counter[str] = Counter()
        self._answers: dict[str, Answer] = {}

    async def vms(self) -> Sequence[VmRecord]:
        """All VMs, by name."""
        return [self._vms[name] for name in sorted(self._vms)]

    async def datastores(self) -> Sequence[Datastore]:
        """Those that the operator added, by name."""
        return [self._datastores[name] for name in sorted(self._datastores)]

    async def hosts(self) -> Sequence[HostRecord]:
        """Those of which something is known, by name."""
        return [self._hosts[name] for name in sorted(self._hosts)]

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
        self._hosts |= {each.name: each for each in change.hosts}
        self._datastores |= {each.name: each for each in change.datastores}
        for name in change.forgotten_datastores:
            self._datastores.pop(name, None)

    async def next_number(self, counter: str, /) -> int:
        """1, then 2, ..."""
        self._counters[counter] += 1
        return self._counters[counter]

    async def answer(self, key: str, /) -> Answer | None:
        """What is kept under that key."""
        return self._answers.get(key)

    async def keep_answer(self, answer: Answer, /, *, forget_before: datetime) -> None:
        """It is kept; older ones than that are forgotten."""
        self._answers = {key: each for key, each in self._answers.items() if each.at >= forget_before}
        self._answers[answer.key] = answer

    async def drop_answer(self, key: str, /) -> None:
        """Nothing is kept under that key."""
        self._answers.pop(key, None)

    async def close(self) -> None:
        """Nothing to let go of."""

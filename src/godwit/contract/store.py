"""What the manager needs a store to be: its whole memory, changed all at once or not at all."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Protocol

from godwit.contract.host import HandedOver, Settled
from godwit.core.migration import Event, Migration
from godwit.core.model import Datastore, Name, Pinned, Value, VmSpec, VmState
from godwit.core.plan import Plan
from godwit.core.policy import Policy
from godwit.core.report import DiskReport, Forecast


class VmRecord(Value):
    """What the manager knows of a VM."""

    spec: VmSpec
    pinned: Pinned
    state: VmState
    host: Name
    """Where it runs, or ran last."""
    epoch: int = 0
    """How often it was moved, or was about to be."""
    migration: str | None = None
    """The migration that moves it now."""
    reason: str | None = None
    """Why it is `crashed` or `in-doubt`."""
    created_at: datetime
    policy: Policy = Policy()
    """What its owner allows."""
    rehearses: Name | None = None
    """It is a throw-away VM like that one."""

    @property
    def name(self) -> str:
        """The VM's name."""
        return self.spec.name


class MigrationRecord(Value):
    """What the manager knows of a migration, but for its events."""

    migration: Migration
    plan: Plan | None = None
    """As far as it was made."""
    forecast: Forecast | None = None
    """Made before the start."""
    handed: HandedOver | None = None
    settled: Settled | None = None
    disks: tuple[DiskReport, ...] = ()
    """Those that were copied."""

    @property
    def id(self) -> str:
        """The migration's name."""
        return self.migration.id


class HostRecord(Value):
    """What the manager was told of a host, besides its configuration."""

    name: Name
    draining: bool = False
    """Nothing new is placed there."""


class Change(Value):
    """What is stored together: records replace those of the same name, events are added."""

    vms: tuple[VmRecord, ...] = ()
    forgotten: tuple[Name, ...] = ()
    """Names of VMs that are no more."""
    datastores: tuple[Datastore, ...] = ()
    forgotten_datastores: tuple[Name, ...] = ()
    hosts: tuple[HostRecord, ...] = ()
    migrations: tuple[MigrationRecord, ...] = ()
    events: tuple[Event, ...] = ()


class Answer(Value):
    """What a request with an `Idempotency-Key` was answered."""

    key: str
    fingerprint: str
    """Of the request; another one under the same key is a mistake."""
    status: int | None = None
    """Of HTTP; none: not answered yet."""
    body: str = ""
    at: datetime


class Store(Protocol):
    """The manager's memory. Every verb may raise `Failed` when the store cannot be read or written."""

    async def vms(self) -> Sequence[VmRecord]:
        """All VMs, by name."""
        ...

    async def datastores(self) -> Sequence[Datastore]:
        """Those that the operator added, by name."""
        ...

    async def hosts(self) -> Sequence[HostRecord]:
        """Those of which something is known, by name."""
        ...

    async def migrations(self) -> Sequence[MigrationRecord]:
        """All migrations, in the order in which they were first stored."""
        ...

    async def events(self, migration: str, /, *, after: int = 0) -> Sequence[Event]:
        """What happened to that migration after its event number `after`, in order."""
        ...

    async def apply(self, change: Change, /) -> None:
        """All of the change survives a power cut when this returns; on failure, none of it is there.

        `Broken` for an event whose number its migration has already.
        """
        ...

    async def next_number(self, counter: str, /) -> int:
        """1, then 2, ...; never the same twice, whatever crashes."""
        ...

    async def answer(self, key: str, /) -> Answer | None:
        """What is kept under that key."""
        ...

    async def keep_answer(self, answer: Answer, /, *, forget_before: datetime) -> None:
        """It is kept in the place of what was there under its key; older ones than that are forgotten."""
        ...

    async def drop_answer(self, key: str, /) -> None:
        """Nothing is kept under that key."""
        ...

    async def close(self) -> None:
        """Nothing is held any more."""
        ...

"""The default store: one SQLite file of JSON documents, used by one manager at a time."""

from __future__ import annotations

import asyncio
import fcntl
import os
import sqlite3
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from typing import Concatenate, ParamSpec, TypeVar

from godwit.contract.store import Answer, Change, HostRecord, MigrationRecord, VmRecord
from godwit.core.errors import Broken, Failed, Refused
from godwit.core.migration import Event
from godwit.core.model import Datastore

P = ParamSpec("P")
T = TypeVar("T")

SCHEMA_VERSION = 4
"""Counts up with every change of the tables; an older file is brought forward here, a newer one refused."""

_TABLES = """
CREATE TABLE vms (name TEXT PRIMARY KEY, document TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE migrations (number INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, document TEXT NOT NULL);
CREATE TABLE events (
    migration TEXT NOT NULL, sequence INTEGER NOT NULL, document TEXT NOT NULL, PRIMARY KEY (migration, sequence)
) WITHOUT ROWID;
CREATE TABLE counters (name TEXT PRIMARY KEY, value INTEGER NOT NULL) WITHOUT ROWID;
"""
_STEPS = (
    _TABLES,
    "CREATE TABLE datastores (name TEXT PRIMARY KEY, document TEXT NOT NULL) WITHOUT ROWID;",
    "CREATE TABLE answers (key TEXT PRIMARY KEY, at TEXT NOT NULL, document TEXT NOT NULL) WITHOUT ROWID;",
    "CREATE TABLE hosts (name TEXT PRIMARY KEY, document TEXT NOT NULL) WITHOUT ROWID;",
)
"""What brings a file of schema 0 to 1, 1 to 2, ..."""


class SqliteStore:
    """Implements contract.store.Store; make one with `open_store`."""

    def __init__(self, connection: sqlite3.Connection, lock: int, thread: ThreadPoolExecutor) -> None:
        self._connection = connection
        self._lock = lock
        self._thread = thread

    async def vms(self) -> Sequence[VmRecord]:
        """All VMs, by name."""
        rows = await self._run(_select, "SELECT document FROM vms ORDER BY name")
        return [VmRecord.model_validate_json(row) for row in rows]

    async def datastores(self) -> Sequence[Datastore]:
        """Those that the operator added, by name."""
        rows = await self._run(_select, "SELECT document FROM datastores ORDER BY name")
        return [Datastore.model_validate_json(row) for row in rows]

    async def hosts(self) -> Sequence[HostRecord]:
        """Those of which something is known, by name."""
        rows = await self._run(_select, "SELECT document FROM hosts ORDER BY name")
        return [HostRecord.model_validate_json(row) for row in rows]

    async def migrations(self) -> Sequence[MigrationRecord]:
        """All migrations, in the order in which they were first stored."""
        rows = await self._run(_select, "SELECT document FROM migrations ORDER BY number")
        return [MigrationRecord.model_validate_json(row) for row in rows]

    async def events(self, migration: str, /, *, after: int = 0) -> Sequence[Event]:
        """What happened to that migration after its event number `after`, in order."""
        query = "SELECT document FROM events WHERE migration = ? AND sequence > ? ORDER BY sequence"
        rows = await self._run(_select, query, migration, after)
        return [Event.model_validate_json(row) for row in rows]

    async def apply(self, change: Change, /) -> None:
        """All of the change is on the disk, or none of it."""
        await self._run(_apply, change)

    async def next_number(self, counter: str, /) -> int:
        """1, then 2, ...; counted on the disk before it is told."""
        return await self._run(_count, counter)

    async def answer(self, key: str, /) -> Answer | None:
        """What is kept under that key."""
        rows = await self._run(_select, "SELECT document FROM answers WHERE key = ?", key)
        return Answer.model_validate_json(rows[0]) if rows else None

    async def keep_answer(self, answer: Answer, /, *, forget_before: datetime) -> None:
        """It is on the disk; older ones than that are not."""
        await self._run(_keep, answer, forget_before)

    async def drop_answer(self, key: str, /) -> None:
        """Nothing is kept under that key."""
        await self._run(_drop, key)

    async def close(self) -> None:
        """The file is closed, and another process may use it."""
        await asyncio.get_running_loop().run_in_executor(self._thread, self._connection.close)
        self._thread.shutdown()
        os.close(self._lock)

    async def _run(
        self, work: Callable[Concatenate[sqlite3.Connection, P], T], /, *args: P.args, **kwargs: P.kwargs
    ) -> T:
        """One after the other in the store's own thread; what was begun ends, even if the caller is cancelled."""

        def call() -> T:
            try:
                return work(self._connection, *args, **kwargs)
            except sqlite3.IntegrityError as error:
                raise Broken("an event was to be stored twice") from error
            except sqlite3.Error as error:
                raise Failed(f"the manager's store cannot be used ({error}): look at its disk", "store") from error

        return await asyncio.get_running_loop().run_in_executor(self._thread, call)


async def open_store(path: Path) -> SqliteStore:
    """The store in that file, made if it is not there; `Refused` while another process has it open."""
    lock = _take(path)
    thread = ThreadPoolExecutor(1, thread_name_prefix="store")
    try:
        connection = await asyncio.get_running_loop().run_in_executor(thread, _open, path)
    except BaseException:
        thread.shutdown()
        os.close(lock)
        raise
    return SqliteStore(connection, lock, thread)


def _take(path: Path) -> int:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        lock = os.open(path.with_name(path.name + ".lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise Refused(f"the store {path} cannot be made: {error.strerror}; choose another place", "store") from error
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(lock)
        raise Refused(f"another manager uses the store {path}: end it, or give this one a store of its own") from None
    return lock


def _open(path: Path) -> sqlite3.Connection:
    try:
        path.touch(mode=0o600)
        connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = FULL")
        _bring_forward(connection, path)
    except (OSError, sqlite3.Error) as error:
        raise Refused(f"{path} cannot be used as a store ({error}): move it away, or name another", "store") from error
    return connection


def _bring_forward(connection: sqlite3.Connection, path: Path) -> None:
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    if version > SCHEMA_VERSION:
        connection.close()
        raise Refused(f"the store {path} was written by a newer godwit (schema {version}): install that one", "store")
    steps = "".join(_STEPS[version:])
    if steps:
        connection.executescript(f"BEGIN;{steps}PRAGMA user_version = {SCHEMA_VERSION};COMMIT;")


def _select(connection: sqlite3.Connection, query: str, *values: str | int) -> list[str]:
    return [document for (document,) in connection.execute(query, values)]


def _apply(connection: sqlite3.Connection, change: Change) -> None:
    connection.execute("BEGIN IMMEDIATE")
    try:
        _write(connection, change)
    except BaseException:
        connection.execute("ROLLBACK")
        raise
    connection.execute("COMMIT")


def _write(connection: sqlite3.Connection, change: Change) -> None:
    for vm in change.vms:
        connection.execute("INSERT OR REPLACE INTO vms VALUES (?, ?)", (vm.name, vm.model_dump_json()))
    for name in change.forgotten:
        connection.execute("DELETE FROM vms WHERE name = ?", (name,))
    for datastore in change.datastores:
        words = (datastore.name, datastore.model_dump_json())
        connection.execute("INSERT OR REPLACE INTO datastores VALUES (?, ?)", words)
    for name in change.forgotten_datastores:
        connection.execute("DELETE FROM datastores WHERE name = ?", (name,))
    for host in change.hosts:
        connection.execute("INSERT OR REPLACE INTO hosts VALUES (?, ?)", (host.name, host.model_dump_json()))
    for each in change.migrations:
        connection.execute(
            "INSERT INTO migrations (id, document) VALUES (?, ?) "
            "ON CONFLICT (id) DO UPDATE SET document = excluded.document",
            (each.id, each.model_dump_json()),
        )
    for event in change.events:
        row = (event.migration, event.sequence, event.model_dump_json())
        connection.execute("INSERT INTO events VALUES (?, ?, ?)", row)


def _keep(connection: sqlite3.Connection, answer: Answer, forget_before: datetime) -> None:
    connection.execute("DELETE FROM answers WHERE at < ?", (_sortable(forget_before),))
    row = (answer.key, _sortable(answer.at), answer.model_dump_json())
    connection.execute("INSERT OR REPLACE INTO answers VALUES (?, ?, ?)", row)


def _sortable(at: datetime) -> str:
    return at.astimezone(UTC).isoformat(timespec="microseconds")


def _drop(connection: sqlite3.Connection, key: str) -> None:
    connection.execute("DELETE FROM answers WHERE key = ?", (key,))


def _count(connection: sqlite3.Connection, counter: str) -> int:
    query = "INSERT INTO counters VALUES (?, 1) ON CONFLICT (name) DO UPDATE SET value = value + 1 RETURNING value"
    (number,) = connection.execute(query, (counter,)).fetchone()
    return int(number)

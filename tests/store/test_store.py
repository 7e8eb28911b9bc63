"""One suite for every store, and what only the file has."""

from __future__ import annotations

import sqlite3
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path

import pytest

from godwit.contract.store import Change, MigrationRecord, Store, VmRecord
from godwit.core.errors import Broken, Refused
from godwit.core.migration import Event, EventKind, Migration, MigrationRequest
from godwit.core.model import Accelerator, Datastore, Image, Pinned, VmSpec, VmState
from godwit.core.phase import Phase
from godwit.store.memory import MemoryStore
from godwit.store.sqlite import SCHEMA_VERSION, open_store

pytestmark = pytest.mark.anyio

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)

Opener = Callable[[], AbstractAsyncContextManager[Store]]


def vm(name: str = "web-1", state: VmState = VmState.running) -> VmRecord:
    image = Image(name="base", kernel="/images/vmlinuz", initrd="/images/initrd")
    spec = VmSpec(name=name, uuid=f"uuid-of-{name}", memory_mib=256, cpus=1, image=image)
    pinned = Pinned(machine="pc-q35-7.2", cpu_model="Nehalem-v1", accelerator=Accelerator.tcg)
    return VmRecord(spec=spec, pinned=pinned, state=state, host="host-a", created_at=NOW)


def migration(number: int = 1, phase: Phase = Phase.pending) -> MigrationRecord:
    return MigrationRecord(
        migration=Migration(
            id=f"m{number}",
            vm="web-1",
            source="host-a",
            destination="host-b",
            phase=phase,
            request=MigrationRequest(vm="web-1", destination="host-b"),
            started_at=NOW,
        )
    )


def event(sequence: int, of: str = "m1") -> Event:
    return Event(sequence=sequence, migration=of, at=NOW, kind=EventKind.warned, text=f"event {sequence}")


@pytest.fixture(params=["memory", "sqlite"])
def opened(request: pytest.FixtureRequest, tmp_path: Path) -> Opener:
    @asynccontextmanager
    async def make() -> AsyncIterator[Store]:
        store: Store = MemoryStore() if request.param == "memory" else await open_store(tmp_path / "store.sqlite")
        try:
            yield store
        finally:
            await store.close()

    return make


async def test_what_was_stored_is_read(opened: Opener) -> None:
    async with opened() as store:
        await store.apply(Change(vms=(vm("b"), vm("a")), migrations=(migration(),), events=(event(1),)))
        assert await store.vms() == [vm("a"), vm("b")]
        assert await store.migrations() == [migration()]
        assert await store.events("m1") == [event(1)]


async def test_a_record_replaces_the_one_of_its_name_and_keeps_its_place(opened: Opener) -> None:
    async with opened() as store:
        await store.apply(Change(vms=(vm(),), migrations=(migration(10), migration(9))))
        await store.apply(Change(vms=(vm(state=VmState.stopped),), migrations=(migration(10, Phase.done),)))
        assert await store.vms() == [vm(state=VmState.stopped)]
        assert await store.migrations() == [migration(10, Phase.done), migration(9)]


async def test_a_forgotten_vm_is_no_more(opened: Opener) -> None:
    async with opened() as store:
        await store.apply(Change(vms=(vm("a"), vm("b"))))
        await store.apply(Change(forgotten=("a", "never-there")))
        assert await store.vms() == [vm("b")]


async def test_added_datastores_are_read_by_name_until_they_are_forgotten(opened: Opener) -> None:
    one, two = (Datastore(name=name, path=f"/{name}", shared=True) for name in ("a", "b"))
    async with opened() as store:
        await store.apply(Change(datastores=(two, one)))
        await store.apply(Change(datastores=(one.model_copy(update={"shared": False}),)))
        assert await store.datastores() == [one.model_copy(update={"shared": False}), two]
        await store.apply(Change(forgotten_datastores=("a", "never-there")))
        assert await store.datastores() == [two]


async def test_a_file_of_the_first_schema_is_brought_forward(tmp_path: Path) -> None:
    store = await open_store(tmp_path / "store.sqlite")
    await store.apply(Change(vms=(vm(),)))
    await store.close()
    with sqlite3.connect(tmp_path / "store.sqlite") as connection:
        for (table,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall():
            if table not in {"vms", "migrations", "events", "counters"}:
                connection.execute(f"DROP TABLE {table}")
        connection.execute("PRAGMA user_version = 1")
    connection.close()
    store = await open_store(tmp_path / "store.sqlite")
    assert (await store.vms(), await store.datastores()) == ([vm()], [])
    await store.close()


async def test_events_are_read_in_order_after_a_number_and_of_one_migration(opened: Opener) -> None:
    async with opened() as store:
        await store.apply(Change(events=(event(10), event(9), event(11, of="m2"))))
        await store.apply(Change(events=(event(8),)))
        assert [each.sequence for each in await store.events("m1")] == [8, 9, 10]
        assert [each.sequence for each in await store.events("m1", after=8)] == [9, 10]
        assert await store.events("m3") == []


async def test_a_change_that_fails_leaves_nothing(opened: Opener) -> None:
    async with opened() as store:
        await store.apply(Change(events=(event(1),)))
        with pytest.raises(Broken):
            await store.apply(Change(vms=(vm(),), migrations=(migration(),), events=(event(2), event(1))))
        assert await store.vms() == []
        assert await store.migrations() == []
        assert await store.events("m1") == [event(1)]


async def test_numbers_count_up_by_counter(opened: Opener) -> None:
    async with opened() as store:
        assert [await store.next_number("a"), await store.next_number("a"), await store.next_number("b")] == [1, 2, 1]


async def test_the_file_remembers(tmp_path: Path) -> None:
    first = await open_store(tmp_path / "store.sqlite")
    await first.apply(Change(vms=(vm(),), migrations=(migration(),), events=(event(1),)))
    await first.next_number("migrations")
    await first.close()
    again = await open_store(tmp_path / "store.sqlite")
    assert await again.vms() == [vm()]
    assert await again.migrations() == [migration()]
    assert await again.events("m1") == [event(1)]
    assert await again.next_number("migrations") == 2
    await again.close()


async def test_a_second_manager_on_the_file_is_refused_until_the_first_ends(tmp_path: Path) -> None:
    first = await open_store(tmp_path / "store.sqlite")
    with pytest.raises(Refused, match="another manager uses the store"):
        await open_store(tmp_path / "store.sqlite")
    await first.close()
    await (await open_store(tmp_path / "store.sqlite")).close()


async def test_a_newer_file_is_refused_and_left_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "store.sqlite"
    await (await open_store(path)).close()
    with sqlite3.connect(path) as connection:
        connection.execute(f"PRAGMA user_version = {SCHEMA_VERSION + 1}")
    connection.close()
    with pytest.raises(Refused, match="newer godwit"):
        await open_store(path)


async def test_a_file_that_is_no_store_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "store.sqlite"
    path.write_text("these are not the bytes of a database" * 100)
    with pytest.raises(Refused, match="cannot be used as a store"):
        await open_store(path)


async def test_only_its_owner_may_read_the_file(tmp_path: Path) -> None:
    store = await open_store(tmp_path / "store.sqlite")
    assert (tmp_path / "store.sqlite").stat().st_mode & 0o777 == 0o600
    await store.close()

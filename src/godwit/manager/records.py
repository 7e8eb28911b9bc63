"""What the manager knows, in memory as in the store: read at once, changed one change at a time."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager

from godwit.contract.store import Change, HostRecord, MigrationRecord, Store, VmRecord
from godwit.core.errors import NotFound, Refused
from godwit.core.model import Datastore, HostFacts
from godwit.core.phase import Phase

WAITING = frozenset({Phase.pending, Phase.checking})
"""A migration in one of these has not reserved its memory yet."""


class Records:
    """The store's content in memory; whoever holds this is the only one who writes the store."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.vms: dict[str, VmRecord] = {}
        self.migrations: dict[str, MigrationRecord] = {}
        self.datastores: dict[str, Datastore] = {}
        self.hosts: dict[str, HostRecord] = {}
        self._writing = asyncio.Lock()
        self._tasks: set[asyncio.Task[Change]] = set()
        self._claims: dict[str, str] = {}
        self.promised_units: set[str] = set()
        """Units of iSCSI targets that become disks just now."""

    async def load(self) -> None:
        """What the store holds is known."""
        self.vms = {vm.name: vm for vm in await self.store.vms()}
        self.migrations = {each.id: each for each in await self.store.migrations()}
        self.datastores = {each.name: each for each in await self.store.datastores()}
        self.hosts = {each.name: each for each in await self.store.hosts()}

    def vm(self, name: str) -> VmRecord:
        """That VM, or `NotFound`."""
        if name not in self.vms:
            raise NotFound(f"there is no VM {name!r}: see `godwit vm list`", "no-vm")
        return self.vms[name]

    def migration(self, id: str) -> MigrationRecord:
        """That migration, or `NotFound`."""
        if id not in self.migrations:
            raise NotFound(f"there is no migration {id!r}: see `godwit migration list`", "no-migration")
        return self.migrations[id]

    def is_draining(self, host: str) -> bool:
        """Nothing new is placed there."""
        return host in self.hosts and self.hosts[host].draining

    def demand_open(self, host: str) -> None:
        """Returns if something new may be placed there; otherwise `Refused`."""
        if self.is_draining(host):
            raise Refused(
                f"{host} is being drained: choose another host, or take it back with `godwit host activate {host}`",
                "host-draining",
            )

    def open_hosts(self, hosts: Iterable[HostFacts]) -> list[HostFacts]:
        """Those that take something new, less the memory that migrations which wait will need there."""
        promised: dict[str, int] = {}
        for record in self.migrations.values():
            migration = record.migration
            if migration.phase in WAITING and migration.vm in self.vms:
                memory_mib = self.vms[migration.vm].spec.memory_mib
                promised[migration.destination] = promised.get(migration.destination, 0) + memory_mib
        return [
            each.model_copy(update={"memory_free_mib": each.memory_free_mib - promised.get(each.host, 0)})
            for each in hosts
            if not self.is_draining(each.host)
        ]

    def units_in_use(self, *, but: str = "") -> frozenset[str]:
        """Units of iSCSI targets that are a VM's, or will be when what is going on has ended; `but` for that move."""
        owned = {volume.path for vm in self.vms.values() for volume in vm.spec.volumes if volume.is_lun}
        coming = {
            disk.to.path
            for record in self.migrations.values()
            if record.plan and not record.migration.is_ended and record.id != but
            for disk in record.plan.disks
            if disk.to.is_lun
        }
        return frozenset(owned | coming | self.promised_units)

    async def change(self, make: Callable[[], Change]) -> Change:
        """The change is stored, and then known; `make` sees the newest records, and if it raises, nothing happens.

        Cancelling the caller does not cancel what was begun: memory and store never differ.
        """
        task = asyncio.create_task(self._change(make))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return await asyncio.shield(task)

    async def change_vm(self, name: str, **fields: object) -> VmRecord:
        """These fields of the VM's record have these values."""
        change = await self.change(lambda: Change(vms=(self.vm(name).model_copy(update=fields),)))
        return change.vms[0]

    async def close(self) -> None:
        """What was begun is written."""
        if self._tasks:
            await asyncio.wait(set(self._tasks))

    @contextmanager
    def claimed(self, vm: str, doing: str) -> Iterator[None]:
        """Nobody else starts, stops, moves or deletes that VM meanwhile; `Refused` if somebody does already."""
        if vm in self._claims:
            raise Refused(f"{vm} is {self._claims[vm]}: try again when that has ended", "busy")
        self._claims[vm] = doing
        try:
            yield
        finally:
            del self._claims[vm]

    def is_claimed(self, vm: str) -> bool:
        """Somebody is changing what that VM does."""
        return vm in self._claims

    async def _change(self, make: Callable[[], Change]) -> Change:
        async with self._writing:
            change = make()
            await self.store.apply(change)
            self.vms |= {vm.name: vm for vm in change.vms}
            self.migrations |= {each.id: each for each in change.migrations}
            for name in change.forgotten:
                self.vms.pop(name, None)
            self.hosts |= {each.name: each for each in change.hosts}
            self.datastores |= {each.name: each for each in change.datastores}
            for name in change.forgotten_datastores:
                self.datastores.pop(name, None)
            return change

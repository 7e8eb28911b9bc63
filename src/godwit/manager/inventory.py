"""The VMs: made, started, stopped, forgotten."""

from __future__ import annotations

import secrets
import uuid
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime

from godwit.contract.disks import CreateDisk
from godwit.contract.host import StartVm, StopVm
from godwit.contract.store import Change, VmRecord
from godwit.core.config import ManagerConfig
from godwit.core.errors import GodwitError, NotFound, Refused, TimedOut, Unreachable
from godwit.core.model import FirmwareKind, HostFacts, Nic, Pinned, VmSpec, VmState
from godwit.core.placement import Needs, choose_host, pin
from godwit.core.policy import parse
from godwit.core.resources import DiskView, VmChange, VmRequest, VmView
from godwit.manager import disks
from godwit.manager.addresses import make_nic
from godwit.manager.datastores import Datastores
from godwit.manager.fleet import Fleet
from godwit.manager.images import Images
from godwit.manager.records import Records
from godwit.manager.views import disk_views, vm_view

AT_REST = frozenset({VmState.stopped, VmState.crashed})


class Inventory:
    """All VMs."""

    def __init__(self, config: ManagerConfig, records: Records, fleet: Fleet) -> None:
        self._config = config
        self._records = records
        self._fleet = fleet
        self._disks = disks.Disks(records, fleet)
        self.datastores = Datastores(config.datastores, records, fleet)
        self.images = Images(config.images)

    def view(self, name: str) -> VmView:
        """That VM as people see it."""
        return self._view(self._records.vm(name))

    def views(self) -> list[VmView]:
        """All of them, by name."""
        return [self._view(self._records.vms[name]) for name in sorted(self._records.vms)]

    def _view(self, record: VmRecord) -> VmView:
        return vm_view(record, host_answers=not self._fleet.is_silent(record.host))

    def disks(self) -> list[DiskView]:
        """All disks of all VMs, by their names."""
        return [disk for name in sorted(self._records.vms) for disk in disk_views(self._records.vms[name])]

    async def create(self, request: VmRequest) -> VmView:
        """The VM is known and, if asked for, runs; on failure it is not known and nothing of it is left.

        On `Unreachable` it may run, or may have left its disks: its record stays, and says why.
        """
        with self._records.claimed(request.name, "being created"):
            self._check(request)
            if request.host:
                self._fleet.host(request.host)
                self._records.demand_open(request.host)
            facts = self._records.open_hosts(await self._fleet.look())
            host, pinned = self._place(request, facts)
            record = self._record(request, host, pinned)
            await self._make(record, disks.orders(request, record.spec), start=request.start)
        return self.view(request.name)

    async def make(self, record: VmRecord, wanted: list[CreateDisk], *, start: bool) -> None:
        """A VM of this record and these disks is known and runs; on failure as `create`."""
        with self._records.claimed(record.name, "being created"):
            await self._make(record, wanted, start=start)

    async def _make(self, record: VmRecord, wanted: list[CreateDisk], *, start: bool) -> None:
        await self._records.change(lambda: Change(vms=(record,)))
        made = await self._equip(record, wanted)
        if start:
            await self._start(made, forget=True)

    async def start(self, name: str) -> VmView:
        """The VM runs: where it ran last if that host answers, else where there is room."""
        with self._records.claimed(name, "being started"):
            record = self._records.vm(name)
            if record.state not in AT_REST:
                raise Refused(f"{name} is {record.state} on {record.host} already", "vm-not-stopped")
            host = choose_host(Needs.of(record.spec), await self._candidates(record))
            starting = await self._records.change_vm(name, host=host, state=VmState.starting, reason=None)
            await self._start(starting, forget=False)
        return self.view(name)

    async def stop(self, name: str, *, grace_s: float = 30.0) -> VmView:
        """The VM's QEMU is gone."""
        with self._records.claimed(name, "being stopped"):
            record = self._records.vm(name)
            _refuse_moving(record)
            if record.state in AT_REST:
                raise Refused(f"{name} is {record.state} already", "vm-not-running")
            with suppress(NotFound):  # gone by itself meanwhile: as asked
                await self._fleet.host(record.host).stop_vm(StopVm(name=name, grace_s=grace_s))
            await self._records.change_vm(name, state=VmState.stopped, reason=None)
        return self.view(name)

    async def change(self, name: str, change: VmChange) -> VmView:
        """The VM's owner allows what that says; `Invalid` for what is no rule."""
        policy = parse(change.rules)
        self._records.vm(name)
        await self._records.change_vm(name, policy=policy)
        return self.view(name)

    async def delete(self, name: str) -> None:
        """The VM is not known any more and its disks are gone; `Refused` while it runs."""
        with self._records.claimed(name, "being deleted"):
            record = self._records.vm(name)
            _refuse_moving(record)
            if record.state not in AT_REST:
                raise Refused(f"{name} is {record.state}: stop it first with `godwit vm stop {name}`", "vm-not-stopped")
            await self._disks.remove(record)
            await self._records.change(lambda: Change(forgotten=(name,)))

    def _check(self, request: VmRequest) -> None:
        if request.name in self._records.vms:
            raise Refused(f"there is a VM {request.name!r} already: choose another name", "vm-exists")
        disks.check(request)
        parse(request.rules)
        for name in disks.datastores(request):
            self.datastores.get(name)
        for nic in request.nics:
            if nic.network not in self._config.networks:
                known = ", ".join(sorted(self._config.networks)) or "none"
                raise NotFound(f"there is no network {nic.network!r}: the manager knows {known}", "no-network")
        self.images.image(request.image)

    def _place(self, request: VmRequest, facts: list[HostFacts]) -> tuple[str, Pinned]:
        """Where the VM starts, and what it is bound to: what all hosts that could ever receive it have."""
        needs = Needs(
            memory_mib=request.memory_mib,
            cpus=request.cpus,
            networks=tuple(nic.network for nic in request.nics),
            datastores=disks.datastores(request),
            uefi=request.firmware is FirmwareKind.uefi,
        )
        emptied = needs.model_copy(update={"memory_mib": 0})
        able = [each for each in facts if emptied.lack_of(each) is None]
        if request.host:
            if all(each.host != request.host for each in facts):
                reason = self._fleet.state(request.host).reason
                raise Refused(f"{request.host} does not answer ({reason}): choose another host", "host-unreachable")
            facts = [each for each in facts if each.host == request.host]
        host = choose_host(needs, facts)
        return host, pin(able, first=host, cpu_model=request.cpu_model)

    def _record(self, request: VmRequest, host: str, pinned: Pinned) -> VmRecord:
        taken = [nic for record in self._records.vms.values() for nic in record.spec.nics]
        nics: list[Nic] = []
        for nic in request.nics:
            pool = self._config.networks[nic.network].pool
            nics.append(make_nic(nic, pool=pool, taken=[*taken, *nics], numbers=_random_numbers()))
        spec = VmSpec(
            name=request.name,
            uuid=str(uuid.uuid4()),
            memory_mib=request.memory_mib,
            cpus=request.cpus,
            image=self.images.image(request.image),
            nics=tuple(nics),
        )
        state = VmState.starting if request.start else VmState.stopped
        return VmRecord(
            spec=spec,
            pinned=pinned,
            state=state,
            host=host,
            created_at=datetime.now(UTC),
            policy=parse(request.rules),
        )

    async def _candidates(self, record: VmRecord) -> list[HostFacts]:
        """Where a VM at rest may start: where it ran last, or anywhere if that does not answer and nothing holds it."""
        seen = await self._fleet.look()
        there = [each for each in seen if each.host == record.host]
        is_open = self._records.open_hosts(there)
        if there and not is_open and record.state is VmState.crashed:
            self._records.demand_open(record.host)  # what is left of it must not be started twice
        if not is_open:
            self._demand_shared(record, answers=bool(there))
        return is_open or self._records.open_hosts(seen)

    def _demand_shared(self, record: VmRecord, *, answers: bool) -> None:
        """Returns if other hosts see all its disks; otherwise `Refused`."""
        for disk in record.spec.volumes:
            if not self.datastores.get(disk.datastore).shared:
                if answers:
                    self._records.demand_open(record.host)
                raise Refused(
                    f"disk {disk.name} of {record.name} lies on {record.host} only, which does not answer: "
                    "try again when it does",
                    "host-unreachable",
                )

    async def _equip(self, record: VmRecord, wanted: list[CreateDisk]) -> VmRecord:
        """The VM has its disks; on failure it is not known, or its record says what may be left."""
        try:
            return await self._disks.make(record, wanted)
        except GodwitError:
            await self._discard(self._records.vm(record.name))
            raise

    async def _discard(self, record: VmRecord) -> None:
        """The VM and its disks are no more; if the disks cannot be removed now, it is stopped, to be deleted later."""
        try:
            await self._disks.remove(record)
        except GodwitError as error:
            reason = f"it was not made, and its disks are left ({error.message}): delete it later"
            await self._records.change_vm(record.name, state=VmState.stopped, reason=reason)
            return
        await self._records.change(lambda: Change(forgotten=(record.name,)))

    async def _start(self, record: VmRecord, *, forget: bool) -> None:
        """The VM runs on its record's host, or is as before (`forget`: not known)."""
        try:
            order = StartVm(
                spec=record.spec, pinned=record.pinned, epoch=record.epoch, announce=record.rehearses is not None
            )
            await self._fleet.host(record.host).start_vm(order)
        except (Unreachable, TimedOut):
            raise  # it may run: the watcher will tell
        except GodwitError as error:
            if forget:
                await self._discard(record)
            else:
                await self._records.change_vm(record.name, state=VmState.stopped, reason=error.message)
            raise
        await self._records.change(lambda: self._started(record.name))

    def _started(self, name: str) -> Change:
        """It runs, unless it has crashed already."""
        record = self._records.vm(name)
        if record.state != VmState.starting:
            return Change()
        return Change(vms=(record.model_copy(update={"state": VmState.running}),))


def _refuse_moving(record: VmRecord) -> None:
    if record.migration is not None:
        raise Refused(
            f"{record.name} is being moved by migration {record.migration}: "
            f"wait for it (`godwit migration watch {record.migration}`) or cancel it",
            "vm-migrating",
        )


def _random_numbers() -> Iterator[int]:
    for _ in range(1000):
        yield secrets.randbelow(1 << 24)

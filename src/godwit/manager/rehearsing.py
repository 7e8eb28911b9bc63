"""Rehearsals: a throw-away VM with another VM's devices and networks is really moved, and nothing of it stays."""

from __future__ import annotations

import asyncio
import logging
import secrets
import uuid
from contextlib import suppress
from datetime import UTC, datetime

from godwit.contract.disks import Blank, CreateDisk
from godwit.contract.store import VmRecord
from godwit.core.checked import Checked, Rehearsal, RehearsalRequest
from godwit.core.errors import Failed, GodwitError, NotFound, Refused
from godwit.core.migration import Event, EventKind, MigrationRequest
from godwit.core.model import Disk, Image, Nic, VmSpec, VmState
from godwit.core.phase import Phase
from godwit.core.rehearsed import judged
from godwit.core.report import Report
from godwit.flow.ending import uninterrupted
from godwit.manager.addresses import free_mac
from godwit.manager.checking import Checker
from godwit.manager.feed import Feed
from godwit.manager.inventory import Inventory
from godwit.manager.records import Records
from godwit.manager.runner import Runner

LOG = logging.getLogger(__name__)

MEMORY_MIB = 64
DISK_BYTES = 1 << 20
LOOK_S = 0.25
LOOKS = 25
"""6 s from the migration's end: announcements go out at 0, 50, 200, 450, 800 ms, 2 s and 5 s."""
SWEEP_S = 20.0


class Rehearsals:
    """Each one with a VM of its own, which nobody but us makes, moves or deletes."""

    def __init__(self, records: Records, inventory: Inventory, runner: Runner, feed: Feed) -> None:
        self._records = records
        self._inventory = inventory
        self._runner = runner
        self._feed = feed
        self._going_on: set[str] = set()

    async def rehearse(self, vm: VmRecord, request: RehearsalRequest, checked: Checked | None) -> Rehearsal:
        """What happened to the probe; `checked` is what was found about the VM itself. The VM is not touched."""
        source = request.source or vm.host
        if source == request.destination:
            raise Refused(f"{source} is both source and destination: name another host", "same-host")
        probe = f"rehearsal-{await self._records.store.next_number('rehearsals')}"
        self._going_on.add(probe)
        report, error = None, None
        try:
            await self._inventory.make(self._record(vm, probe, source), _disks(vm.spec, probe), start=True)
            report = await self._moved(probe, request)
        except GodwitError as failure:
            error = failure
        finally:
            try:
                await uninterrupted(self._remove(probe))
            finally:
                self._going_on.discard(probe)
        words = {"vm": vm.name, "probe": probe, "source": source, "destination": request.destination}
        return judged(words, report, checked, error=error)

    async def sweep(self) -> None:
        """For ever: what rehearsals of an earlier manager have left is removed, as soon as its host answers."""
        while True:
            for name in [each.name for each in self._records.vms.values() if each.rehearses]:
                if name not in self._going_on:
                    await self._remove(name)
            await asyncio.sleep(SWEEP_S)

    def _record(self, vm: VmRecord, probe: str, source: str) -> VmRecord:
        taken = {nic.mac for each in self._records.vms.values() for nic in each.spec.nics}
        nics: list[Nic] = []
        for nic in vm.spec.nics:
            mac = free_mac(iter(lambda: secrets.randbelow(1 << 24), None), {*taken, *(each.mac for each in nics)})
            nics.append(Nic(network=nic.network, mac=mac))
        spec = VmSpec(
            name=probe,
            uuid=str(uuid.uuid4()),
            memory_mib=MEMORY_MIB,
            cpus=vm.spec.cpus,
            image=Image(name="rehearsal"),
            nics=tuple(nics),
        )
        return VmRecord(
            spec=spec,
            pinned=vm.pinned,
            state=VmState.starting,
            host=source,
            created_at=datetime.now(UTC),
            rehearses=vm.name,
        )

    async def _moved(self, probe: str, request: RehearsalRequest) -> Report:
        """The report, once the network has learned the new place or should have."""
        asked = MigrationRequest(
            vm=probe, destination=request.destination, max_blackout_ms=request.max_blackout_ms, force=True
        )
        id = (await self._runner.start(asked)).id
        async for event in self._feed.follow(id):
            if _is_last(event):
                break
        report = await self._runner.report(id)
        for _ in range(LOOKS):
            if report.outcome != "done" or report.network.learned_at_ms is not None:
                break
            await asyncio.sleep(LOOK_S)  # hosts tell what they saw only when they are asked
            report = await self._runner.report(id)
        return report

    async def _remove(self, probe: str) -> None:
        """Nothing of it is left; if that cannot be now, `sweep` does it later."""
        try:
            await self._stop(probe)
            await self._inventory.delete(probe)
        except NotFound:
            return
        except GodwitError as error:
            LOG.warning("%s is left for now: %s", probe, error.message)

    async def _stop(self, probe: str) -> None:
        record = self._records.vm(probe)
        if record.migration is not None:
            with suppress(Refused):
                await self._runner.cancel(record.migration)
            async for event in self._feed.follow(record.migration):
                if _is_last(event):
                    break
        if self._records.vm(probe).state not in {VmState.stopped, VmState.crashed}:
            await self._inventory.stop(probe, grace_s=0.0)


def _disks(spec: VmSpec, probe: str) -> list[CreateDisk]:
    """As many in the same datastores and formats, with nothing in them."""
    return [_blank(each, probe) for each in spec.disks]


def _blank(disk: Disk, probe: str) -> CreateDisk:
    content = Blank(size_bytes=DISK_BYTES)
    return CreateDisk(vm=probe, name=disk.name, datastore=disk.datastore, format=disk.format, content=content)


def _is_last(event: Event) -> bool:
    return event.kind is EventKind.ended or event.phase is Phase.in_doubt


async def check_unless_elsewhere(checker: Checker, vm: VmRecord, request: RehearsalRequest) -> Checked | None:
    """What stands in the way of the VM itself; none for a way that does not begin where it is."""
    if request.source not in {None, vm.host}:
        return None
    try:
        return await checker.check(vm.name, request.destination)
    except Failed:
        return None

"""A host is emptied for maintenance, and taken back into service."""

from __future__ import annotations

from functools import partial

from godwit.contract.store import Change, HostRecord, VmRecord
from godwit.core.case import Case
from godwit.core.draining import Drain, Leaving, allot
from godwit.core.errors import Failed, GodwitError, Refused
from godwit.core.finding import standing
from godwit.core.migration import MigrationRequest
from godwit.core.model import HostFacts
from godwit.core.preflight import AT_ONCE, find
from godwit.manager.checking import Checker
from godwit.manager.fleet import Fleet
from godwit.manager.records import Records
from godwit.manager.runner import Runner


class Draining:
    """Every VM of the host is tried once; whoever wants more asks again."""

    def __init__(self, records: Records, fleet: Fleet, runner: Runner) -> None:
        self._records = records
        self._fleet = fleet
        self._runner = runner
        self._checker = Checker(records, fleet)

    async def plan(self, host: str) -> Drain:
        """Where its VMs would go now; nothing is changed. `Refused` if the host does not answer."""
        try:
            source = await self._fleet.facts(host)
        except Failed as error:
            raise Refused(f"{error.message}: what runs on {host} cannot be moved", "host-unreachable") from error
        facts = [each for each in await self._fleet.look() if each.host != host]
        records = [each for _, each in sorted(self._records.vms.items()) if each.host == host]
        why = partial(self._why, source)
        vms = allot(map(self._leaving, records), self._records.open_hosts(facts), why)
        return Drain(host=host, draining=self._records.is_draining(host), vms=(*vms, *self._arriving(host)))

    async def drain(self, host: str, *, parallel: int | None = None) -> Drain:
        """Nothing new is placed there from now on, and every VM that can go is on its way, or waits for its turn."""
        self._fleet.host(host)
        await self._mark(host, draining=True)
        plan = await self.plan(host)
        begun = [await self._begun(each, parallel) if each.can_go and not each.migration else each for each in plan.vms]
        return plan.model_copy(update={"vms": tuple(begun)})

    async def activate(self, host: str) -> None:
        """VMs may be placed there again; migrations under way go on."""
        self._fleet.host(host)
        await self._mark(host, draining=False)

    async def _mark(self, host: str, *, draining: bool) -> None:
        await self._records.change(lambda: Change(hosts=(HostRecord(name=host, draining=draining),)))

    async def _begun(self, leaving: Leaving, parallel: int | None) -> Leaving:
        request = MigrationRequest(vm=leaving.vm, destination=leaving.destination, parallel=parallel)
        try:
            migration = await self._runner.start(request)
        except GodwitError as error:
            return leaving.model_copy(update={"destination": None, "why": error.message})
        return leaving.model_copy(update={"migration": migration.id})

    def _leaving(self, record: VmRecord) -> Leaving:
        """One that is on its way already goes where that migration takes it."""
        moving = self._records.migrations.get(record.migration or "")
        if moving is None or moving.migration.destination == record.host:
            return _present(record)
        words = {"destination": moving.migration.destination, "migration": moving.id}
        return _present(record).model_copy(update=words)

    def _arriving(self, host: str) -> list[Leaving]:
        """What was on its way there before."""
        coming = [
            each.migration
            for each in self._records.migrations.values()
            if not each.migration.is_ended and each.migration.destination == host
        ]
        found = [(each, self._records.vms[each.vm]) for each in coming if self._records.vms[each.vm].host != host]
        return [
            _present(record).model_copy(
                update={"why": f"{migration.id} brings it here: cancel that, or drain again when it has arrived"}
            )
            for migration, record in found
        ]

    def _why(self, source: HostFacts, vm: str, destination: HostFacts) -> str | None:
        """What stands in the way of that VM's move there."""
        request = MigrationRequest(vm=vm, destination=destination.host)
        move = self._checker.move(self._records.vm(vm), request, destination=destination.host)
        return next((each.sentence for each in standing(find(Case(move, source, destination), AT_ONCE))), None)


def _present(record: VmRecord) -> Leaving:
    return Leaving(vm=record.name, state=record.state, memory_mib=record.spec.memory_mib)

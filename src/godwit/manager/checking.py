"""May it move? Asked about one VM and one host with a close look, or about all of them by their facts alone."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

from godwit.contract.store import VmRecord
from godwit.core.case import Case
from godwit.core.checked import Candidate, Checked
from godwit.core.errors import Failed, Refused
from godwit.core.finding import Finding, Severity, blocker, standing, worst_first
from godwit.core.migration import Migration, MigrationRequest
from godwit.core.model import HostFacts, VmState
from godwit.core.phase import Phase
from godwit.core.plan import Move
from godwit.core.policy import Known, Policy
from godwit.core.preflight import AT_ONCE, find
from godwit.core.report import Forecast
from godwit.flow.foreseeing import Foresight, foresee, refuse_hopeless
from godwit.flow.looking import look
from godwit.manager.fleet import Fleet
from godwit.manager.past import past_of
from godwit.manager.records import Records

RECENTLY = timedelta(seconds=180)
USING_THE_LINK = frozenset({Phase.checking, Phase.reserving, Phase.preparing, Phase.copying, Phase.handing_over})
ALIVE = frozenset({VmState.starting, VmState.running, VmState.migrating})


class Checker:
    """Changes nothing."""

    def __init__(self, records: Records, fleet: Fleet) -> None:
        self._records = records
        self._fleet = fleet

    def move(self, vm: VmRecord, request: MigrationRequest, *, destination: str, id: str = "check") -> Move:
        """That migration of the VM as a value, with all that the manager knows about it.

        Its blackout is no longer than the VM's owner allows, unless that is overridden.
        """
        return Move(
            migration=id,
            attempt=1,
            epoch=vm.epoch + 1,
            spec=vm.spec,
            pinned=vm.pinned,
            source=vm.host,
            destination=destination,
            request=_within(request, vm.policy),
            known=self._known(vm, destination),
        )

    async def check(self, name: str, destination: str) -> Checked:
        """What stands in the way of moving that VM there, and what may hurt."""
        vm = self._records.vm(name)
        there = self._fleet.host(destination)
        if destination == vm.host:
            raise Refused(f"{name} runs on {vm.host} already: name another host", "same-host")
        move = self.move(vm, MigrationRequest(vm=name, destination=destination), destination=destination)
        try:
            case = await look(move, self._fleet.host(vm.host), there)
        except Failed as error:
            return _checked(move, (_unreachable(error),))
        seen = await self._foresee(case) if vm.state is VmState.running else None
        if seen is None:
            return _checked(move, find(case))
        told = replace(case, measured=seen.measured, forecast=seen.course.forecast)
        return _checked(move, worst_first((*find(told), *_hopeless(case, seen))), told.forecast)

    async def _foresee(self, case: Case) -> Foresight:
        past = past_of(migration_of(case.move), self._records.migrations.values())
        return await foresee(case, self._fleet.host(case.source.host), past, thorough=False)

    def able(
        self, vm: VmRecord, request: MigrationRequest, facts: list[HostFacts], hosts: list[HostFacts]
    ) -> list[HostFacts]:
        """Those of the hosts at which nothing stands in the VM's way, as far as facts tell."""
        source = next((each for each in facts if each.host == vm.host), None)
        if source is None:
            return []
        cases = [(each, Case(self.move(vm, request, destination=each.host), source, each)) for each in hosts]
        return [each for each, case in cases if not standing(find(case, AT_ONCE), force=request.force)]

    async def destinations(self, name: str) -> tuple[Candidate, ...]:
        """Each other host, and whether the VM could go there."""
        vm, facts = self._records.vm(name), await self._facts()
        hosts = [each.name for each in self._fleet.states() if each.name != vm.host]
        return tuple(self._candidate(vm, host, facts) for host in hosts)

    async def arrivals(self, host: str) -> tuple[Candidate, ...]:
        """Each running VM of other hosts, and whether it could come."""
        facts = await self._facts()
        others = [vm for _, vm in sorted(self._records.vms.items()) if vm.host != host and vm.state in ALIVE]
        return tuple(self._candidate(vm, host, facts) for vm in others if not vm.rehearses)

    async def _facts(self) -> dict[str, HostFacts]:
        return {each.host: each for each in await self._fleet.look()}

    def _candidate(self, vm: VmRecord, host: str, facts: dict[str, HostFacts]) -> Candidate:
        silent = [each for each in (vm.host, host) if each not in facts]
        if silent:
            return Candidate(vm=vm.name, host=host, movable=False, why_not=f"{silent[0]} does not answer")
        request = MigrationRequest(vm=vm.name, destination=host)
        case = Case(self.move(vm, request, destination=host), facts[vm.host], facts[host])
        blockers = standing(find(case, AT_ONCE))
        return Candidate(
            vm=vm.name, host=host, movable=not blockers, why_not=blockers[0].sentence if blockers else None
        )

    def _known(self, vm: VmRecord, destination: str) -> Known:
        groups, disks = {*vm.policy.keep_apart}, {disk.path for disk in vm.spec.disks if not disk.read_only}
        others = [each for each in self._records.vms.values() if each.name != vm.name]
        return Known(
            policy=vm.policy,
            neighbours=tuple(
                each.name
                for each in others
                if each.host == destination and each.state in ALIVE and groups & {*each.policy.keep_apart}
            ),
            recent_moves=self._recent_moves(vm.name),
            units=tuple(sorted(self._records.units_in_use())),
            is_rehearsal=vm.rehearses is not None,
            sharers=tuple(each.name for each in others if disks & {disk.path for disk in each.spec.disks}),
            movers=tuple(each for each in self.movers(vm.host, destination) if each != vm.name),
        )

    def movers(self, *hosts: str) -> tuple[str, ...]:
        """VMs that are being moved from or to one of these hosts; while they are checked, their link is measured."""
        moves = [each.migration for each in self._records.migrations.values() if each.migration.phase in USING_THE_LINK]
        return tuple(each.vm for each in moves if {each.source, each.destination} & {*hosts})

    def _recent_moves(self, name: str) -> int:
        since = datetime.now(UTC) - RECENTLY
        return sum(
            each.handed is not None and (each.migration.ended_at or datetime.now(UTC)) > since
            for each in self._records.migrations.values()
            if each.migration.vm == name
        )


def migration_of(move: Move) -> Migration:
    """It begins now."""
    return Migration(
        id=move.migration,
        vm=move.spec.name,
        source=move.source,
        destination=move.destination,
        attempt=move.attempt,
        epoch=move.epoch,
        kind=move.kind,
        request=move.request,
        rehearsal=move.known.is_rehearsal,
        started_at=datetime.now(UTC),
    )


def _within(request: MigrationRequest, policy: Policy) -> MigrationRequest:
    if policy.max_stall_ms is None or request.force:
        return request
    return request.model_copy(update={"max_blackout_ms": min(request.max_blackout_ms, policy.max_stall_ms)})


def _unreachable(error: Failed) -> Finding:
    what, _, remedy = error.message.partition("; ")
    return blocker("host-unreachable", what, "it was asked just now", remedy or "choose another host")


def _hopeless(case: Case, seen: Foresight) -> list[Finding]:
    """What the forecast says against the goals."""
    try:
        refuse_hopeless(case, seen)
    except Refused as error:
        return [blocker(error.code, error.message, f"foretold: {seen.course.forecast.sentence}", "change the goals")]
    return []


def _checked(move: Move, findings: tuple[Finding, ...], forecast: Forecast | None = None) -> Checked:
    blockers, warnings = standing(findings), [each for each in findings if each.severity is Severity.warning]
    where = f"{move.spec.name} can be moved from {move.source} to {move.destination}"
    if blockers:
        verdict = f"{move.spec.name} cannot be moved from {move.source} to {move.destination}: {blockers[0].what}"
    elif warnings:
        verdict = f"{where}, with {len(warnings)} warning{'s' if len(warnings) > 1 else ''}"
    else:
        verdict = f"{where}: nothing stands in the way"
    return Checked(
        vm=move.spec.name,
        source=move.source,
        destination=move.destination,
        movable=not blockers,
        verdict=verdict,
        findings=findings,
        forecast=forecast or Forecast(),
    )

"""The migrations: started, cancelled, run as tasks, picked up again after a restart."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Coroutine
from datetime import UTC, datetime
from typing import Any

from godwit.contract.store import Change, MigrationRecord, VmRecord
from godwit.core.case import Case
from godwit.core.errors import Cancelled, Failed, Refused, TimedOut
from godwit.core.finding import Finding, refuse
from godwit.core.migration import Event, EventKind, Migration, MigrationRequest, SettleRequest
from godwit.core.model import VmState
from godwit.core.phase import CANCELLABLE, Phase
from godwit.core.placement import Needs, choose_host
from godwit.core.plan import Move, Plan
from godwit.core.preflight import AT_ONCE, find
from godwit.core.report import DryRun, Report
from godwit.flow.ending import uninterrupted
from godwit.flow.foreseeing import foretold
from godwit.flow.migrate import migrate
from godwit.flow.report import compose
from godwit.flow.resume import may_go_on, resume
from godwit.flow.sides import Sides
from godwit.manager.adopt import adopt
from godwit.manager.book import Book
from godwit.manager.checking import Checker, migration_of
from godwit.manager.feed import Feed
from godwit.manager.fleet import Fleet
from godwit.manager.movable import movable
from godwit.manager.past import past_of
from godwit.manager.records import Records
from godwit.manager.settling import settle
from godwit.manager.turns import Turns
from godwit.manager.watching import Watcher

LOG = logging.getLogger(__name__)

WAITS = "waits for its turn: others move over the same link"
NOWHERE = "none"


class Runner:
    """One task per migration that has not ended."""

    def __init__(self, records: Records, fleet: Fleet, feed: Feed, turns: Turns) -> None:
        self._records = records
        self._checker = Checker(records, fleet)
        self._fleet = fleet
        self._feed = feed
        self._turns = turns
        self._watcher = Watcher(records, fleet)
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._books: dict[str, Book] = {}
        self._adopted: dict[str, Book] = {}
        """Of migrations of which only the hosts know how they go on."""
        self._cancelled: set[str] = set()

    def migrations(self) -> list[Migration]:
        """All of them, oldest first."""
        return [record.migration for record in self._records.migrations.values()]

    def migration(self, id: str) -> Migration:
        """That one, or `NotFound`."""
        return self._records.migration(id).migration

    async def start(self, request: MigrationRequest) -> Migration:
        """The migration is stored and goes on by itself; `Refused` when it cannot be made."""
        with self._records.claimed(request.vm, "being moved"):
            vm = movable(self._records.vm(request.vm), request)
            move = await self._move(vm, request)
            await self._look(move)
            record = _record(move)
            await self._records.change(lambda: _begun(movable(self._records.vm(request.vm), request), record))
        self._begin(move, Book(self._records, self._feed, record.id))
        await asyncio.sleep(0)  # the story has begun, so that cancelling it is told in its diary
        return record.migration

    async def foresee(self, request: MigrationRequest) -> DryRun:
        """What that migration would take, if it began now; `Refused` when it could not be made. Nothing is touched."""
        vm = movable(self._records.vm(request.vm), request)
        move = await self._move(vm, request, "dry-run")
        case, findings = await self._look(move)
        past = past_of(_record(move).migration, self._records.migrations.values())
        told = await foretold(case, self._fleet.host(move.source), past)
        return DryRun(vm=vm.name, source=move.source, destination=move.destination, forecast=told, findings=findings)

    async def cancel(self, id: str) -> Migration:
        """The migration is being undone, which its feed tells; `Refused` once the VM's vCPUs are being stopped."""
        migration = self._records.migration(id).migration
        if migration.is_ended:
            raise Refused(f"migration {id} has ended already: it is {migration.phase}", "ended")
        if id in self._cancelled:
            return migration
        phase = self._books[id].phase if id in self._books else migration.phase
        if phase not in CANCELLABLE or id not in self._books:
            raise Refused(f"migration {id} is {phase} and must go on: see `godwit migration watch {id}`", "too-late")
        self._cancelled.add(id)
        self._tasks[id].cancel()
        return migration

    async def settle(self, id: str, request: SettleRequest) -> Migration:
        """The migration goes on from what a person said; `Refused` where the hosts say it themselves."""
        migration = self._records.migration(id).migration
        hosts = {name: self._fleet.host(name) for name in (migration.source, migration.destination)}
        if migration.phase is not Phase.in_doubt or id not in self._adopted:
            raise Refused(f"migration {id} is {migration.phase}: there is nothing to settle by hand", "not-in-doubt")
        if request.runs_on not in {*hosts, NOWHERE}:
            raise Refused(f"migration {id} is between {' and '.join(hosts)}: name one of them, or {NOWHERE}", "hosts")
        await settle(migration, request, hosts=hosts, book=self._adopted[id])
        return self._records.migration(id).migration

    async def report(self, id: str) -> Report:
        """What happened so far."""
        record = self._records.migration(id)
        events = await self._records.store.events(id)
        return compose(record.migration, events, record.handed, record.settled, forecast=record.forecast)

    async def adopt_unfinished(self) -> None:
        """Migrations that an earlier manager left are being looked at, each by a task; those that waited wait again."""
        for id, record in list(self._records.migrations.items()):
            if record.migration.is_ended:
                continue
            events = await self._records.store.events(id)
            book = Book(self._records, self._feed, id, last_sequence=events[-1].sequence if events else 0)
            if record.migration.phase is Phase.pending:
                self._begin(self._again(record.migration), book)
            elif record.plan and may_go_on(record.plan, record.migration.phase):
                self._books[id] = book
                self._run(id, self._went_on(record.plan, book))
            else:
                self._run(id, self._adopt(book, id))

    async def close(self) -> None:
        """What can be undone has been; what is being handed over has ended; the rest is left for the next manager.

        What waits for its turn is untouched, and waits on in the store.
        """
        for id in self._tasks.keys() - self._books.keys():
            self._tasks[id].cancel()
        for id, book in self._books.items():
            if book.phase is Phase.pending:
                self._tasks[id].cancel()
            elif book.phase in CANCELLABLE and id not in self._cancelled:
                self._cancelled.add(id)
                self._tasks[id].cancel()
            elif book.phase in {Phase.in_doubt, Phase.done}:
                self._tasks[id].cancel()
        await asyncio.gather(*self._tasks.values(), return_exceptions=True)

    async def _move(self, vm: VmRecord, request: MigrationRequest, id: str | None = None) -> Move:
        """What shall be done, under a new number unless it is named."""
        destination = await self._destination(vm, request)
        if vm.state is not VmState.running:
            request = request.model_copy(update={"shut_down": False})  # it is off already, and stays off
        id = id or f"m{await self._records.store.next_number('migrations')}"
        return self._checker.move(vm, request, destination=destination, id=id)

    async def _destination(self, vm: VmRecord, request: MigrationRequest) -> str:
        """The one asked for; without one, a VM whose disks shall go stays, and another goes where there is room."""
        goes = request.datastore is not None or bool(request.disks)
        if request.destination:
            self._fleet.host(request.destination)
            self._records.demand_open(request.destination)
        destination = request.destination or (vm.host if goes else None)
        if destination is None:
            facts = await self._fleet.look()
            open_hosts = self._records.open_hosts(facts)
            able = self._checker.able(vm, request, facts, open_hosts) or open_hosts
            destination = choose_host(Needs.of(vm.spec), able, exclude=vm.host)
        if destination == vm.host and not goes:
            raise Refused(
                f"{vm.name} {'is' if request.cold else 'runs'} on {vm.host} already: name another host, or a datastore",
                "same-host",
            )
        return destination

    async def _look(self, move: Move) -> tuple[Case, tuple[Finding, ...]]:
        """What both hosts say now, and what was found in it; `Refused` if that move cannot be made."""
        try:
            source, destination = await asyncio.gather(*map(self._fleet.facts, (move.source, move.destination)))
        except Failed as error:
            raise Refused(f"{error.message}; nothing was moved", "host-unreachable") from error
        case = Case(move, source, destination)
        findings = find(case, AT_ONCE)
        refuse(findings, force=move.request.force)
        return case, findings

    def _again(self, migration: Migration) -> Move:
        """What an earlier manager was asked for and did not begin."""
        vm = self._records.vm(migration.vm)
        move = self._checker.move(vm, migration.request, destination=migration.destination, id=migration.id)
        return move.model_copy(update={"epoch": migration.epoch})

    def _begin(self, move: Move, book: Book) -> None:
        """It goes on by itself, as soon as its turn has come."""
        self._books[move.migration] = book
        self._run(move.migration, self._story(move, book))

    def _run(self, id: str, work: Coroutine[Any, Any, None]) -> None:
        task = self._tasks[id] = asyncio.create_task(work)
        task.add_done_callback(lambda ended: self._ended(id, ended))

    def _ended(self, id: str, task: asyncio.Task[None]) -> None:
        del self._tasks[id]
        self._books.pop(id, None)
        self._adopted.pop(id, None)
        self._cancelled.discard(id)
        if not task.cancelled() and (error := task.exception()):
            LOG.error("migration %s was left by a bug", id, exc_info=error)

    async def _story(self, move: Move, book: Book) -> None:
        try:
            if await self._has_turn(move.migration, book):
                source, destination = self._fleet.host(move.source), self._fleet.host(move.destination)
                await migrate(move, source=source, destination=destination, diary=book)
        finally:
            await self._watcher.look(move.spec.name)
        if book.phase is Phase.in_doubt:
            await self._adopt(book, move.migration)

    async def _went_on(self, plan: Plan, book: Book) -> None:
        move = plan.move
        try:
            await resume(plan, Sides(self._fleet.host(move.source), self._fleet.host(move.destination), book))
        finally:
            await self._watcher.look(move.spec.name)
        if book.phase is Phase.in_doubt:
            await self._adopt(book, move.migration)

    async def _has_turn(self, id: str, book: Book) -> bool:
        """Its turn has come; false: it has ended before. Cancelled at the manager's end, it waits on in the store."""
        try:
            if not self._turns.ask(id):
                await book.record(Event(at=datetime.now(UTC), kind=EventKind.decided, text=WAITS))
                await self._turns.wait(id)
        except asyncio.CancelledError:
            if id in self._cancelled:
                error = Cancelled("cancelled before its turn came; the VM runs where it was")
                await uninterrupted(book.enter(Phase.cancelled, error=error))
            raise
        except TimedOut as error:
            await book.enter(Phase.failed, error=error)
            return False
        finally:
            self._turns.leave(id)
        return True

    async def _adopt(self, book: Book, id: str) -> None:
        self._adopted[id] = book
        migration = self._records.migration(id).migration
        source, destination = self._fleet.host(migration.source), self._fleet.host(migration.destination)
        await adopt(migration, self._records.migration(id).plan, Sides(source, destination, book), book)
        await self._watcher.look(migration.vm)


def _record(move: Move) -> MigrationRecord:
    return MigrationRecord(migration=migration_of(move))


def _begun(vm: VmRecord, record: MigrationRecord) -> Change:
    """The VM is the migration's from now on."""
    moving = {"state": VmState.migrating, "migration": record.id, "epoch": record.migration.epoch}
    return Change(vms=(vm.model_copy(update=moving),), migrations=(record,))

"""The diary of one migration: what the story tells is stored, with all that follows from it, before it goes on."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from godwit.contract.host import HandedOver, Settled
from godwit.contract.store import Change, MigrationRecord, VmRecord
from godwit.core.errors import GodwitError, Refused
from godwit.core.forecast import Past
from godwit.core.migration import Event, EventKind, Kind, Migration
from godwit.core.model import VmSpec, VmState
from godwit.core.phase import ENDED, Phase, step
from godwit.core.plan import Plan
from godwit.core.report import DiskReport, Forecast
from godwit.manager.feed import Feed
from godwit.manager.past import past_of
from godwit.manager.records import Records


class Book:
    """Implements contract.diary.Diary for one migration."""

    def __init__(self, records: Records, feed: Feed, id: str, *, last_sequence: int = 0) -> None:
        self._records = records
        self._feed = feed
        self._id = id
        self._sequence = last_sequence
        self._phase = records.migration(id).migration.phase

    @property
    def phase(self) -> Phase:
        """The phase entered last; from the moment on at which storing it began."""
        return self._phase

    @property
    def elapsed_s(self) -> float:
        """Since the migration was asked for, its waiting included."""
        return (datetime.now(UTC) - self._record().migration.started_at).total_seconds()

    async def enter(self, phase: Phase, /, *, error: GodwitError | None = None) -> None:
        """The migration is in that phase, its VM's record says what follows from it, and the feed tells."""
        self._phase = step(self._phase, phase)
        kind = EventKind.ended if phase in ENDED else EventKind.phase_entered
        now = datetime.now(UTC)
        text = error.message if error else str(phase)
        if not text.startswith(phase):
            text = f"{phase}: {text}"
        fields: dict[str, Any] = {"phase": phase}
        if phase in ENDED:
            fields["ended_at"] = now
        if phase is Phase.checking:
            fields["waited_ms"] = round(self.elapsed_s * 1000, 3)
        if error:
            fields |= {"error": error.message, "error_kind": error.kind}
        elif phase is Phase.done:
            fields |= {"error": None, "error_kind": None}
        await self._write(Event(at=now, kind=kind, text=text, phase=phase), fields)

    async def planned(self, plan: Plan, /) -> None:
        """What will be done is kept: whoever picks this migration up goes by it.

        `Refused` if a unit that a disk was to go to has been promised to another meanwhile.
        """
        await self._records.change(lambda: self._planned(plan))

    def _planned(self, plan: Plan) -> Change:
        taken = self._records.units_in_use(but=self._id)
        if lost := [move for move in plan.disks if move.to.path in taken]:
            raise Refused(
                f"{lost[0].to.path}, where disk {lost[0].disk.name} of {plan.move.spec.name} was to go, was taken by "
                "another meanwhile: start the migration again",
                "no-unit",
            )
        return Change(migrations=(self._record().model_copy(update={"plan": plan}),))

    async def stored(self, spec: VmSpec, /) -> None:
        """The VM's record says where its disks lie."""
        await self._records.change_vm(spec.name, spec=spec)

    def has_stored(self, plan: Plan) -> bool:
        """The VM's record says that its disks went as planned."""
        return bool(plan.disks) and self._records.vm(plan.spec.name).spec == plan.spec

    async def record(self, event: Event, /) -> None:
        """The event is in the feed; its progress is the migration's."""
        copied = {}
        if event.kind is EventKind.disk_copied:
            report = DiskReport.model_validate(event.data)
            copied["disks"] = (*(each for each in self._record().disks if each.disk != report.disk), report)
        await self._write(event, {"progress": event.progress} if event.progress else {}, **copied)

    @property
    def past(self) -> Sequence[Past]:
        """What earlier moves between the two hosts took."""
        return past_of(self._records.migration(self._id).migration, self._records.migrations.values())

    async def foresaw(self, forecast: Forecast, /) -> None:
        """The forecast is in the record and in the feed."""
        text = f"expected: {forecast.sentence}"
        data = forecast.model_dump(mode="json", exclude_none=True)
        await self._write(
            Event(at=datetime.now(UTC), kind=EventKind.foreseen, text=text, data=data), {}, forecast=forecast
        )

    async def moved(self, handed: HandedOver, /) -> None:
        """The VM lives at the destination."""
        text = f"the VM runs at the destination, blackout {handed.blackout_ms:.1f} ms"
        data = {"blackout_ms": handed.blackout_ms}
        event = Event(at=datetime.now(UTC), kind=EventKind.resumed, text=text, data=data)
        await self._write(event, {}, handed=handed)

    async def settled(self, settled: Settled, /) -> None:
        """What the network was told is kept; once the migration has ended that is the record's affair alone."""
        if self._phase in ENDED:
            await self._settled_at_last(settled)
            return
        text = f"{len(settled.announcements)} announcements are out" if settled.announcements else "all is in place"
        event = Event(at=datetime.now(UTC), kind=EventKind.announced, text=text)
        await self._write(event, {"settled": settled.settled}, settled=settled)

    async def _settled_at_last(self, settled: Settled) -> None:
        was, had = self.is_settled, self._record().settled
        change = await self._records.change(lambda: self._followed(settled))
        if settled.settled and not was:
            self._observe(change.migrations[0], EventKind.settled, "the network needs no relay any more")
        if settled.connections is not None and (had is None or had.connections is None):
            self._observe(change.migrations[0], EventKind.observed, "what its clients saw is known")

    def _observe(self, record: MigrationRecord, kind: EventKind, text: str) -> None:
        event = Event(at=datetime.now(UTC), kind=kind, text=text)
        self._feed.observe(record, _placed(event, self._sequence, record.migration))

    async def doubt(self, text: str) -> None:
        """The migration says what is known, and the feed tells when that has changed."""
        if self._records.migration(self._id).migration.error != text:
            await self._write(Event(at=datetime.now(UTC), kind=EventKind.warned, text=text), {"error": text})

    async def settle_by_hand(self, runs_on: str, proof: str) -> None:
        """The migration says who settled what, and how that is known."""
        text = f"settled by hand: it runs on {runs_on}, because {proof}"
        await self._write(Event(at=datetime.now(UTC), kind=EventKind.warned, text=text), {"settled_by_hand": text})

    @property
    def is_settled_by_hand(self) -> bool:
        """A person said where the VM runs."""
        return bool(self._records.migration(self._id).migration.settled_by_hand)

    @property
    def is_settled(self) -> bool:
        """Nothing of it goes on in the network any more."""
        return self._records.migration(self._id).migration.settled

    def _record(self) -> MigrationRecord:
        return self._records.migration(self._id)

    def _followed(self, settled: Settled) -> Change:
        """The VM's record is not touched: it may be on its way elsewhere."""
        old = self._record()
        migration = old.migration.model_copy(update={"settled": settled.settled})
        return Change(migrations=(old.model_copy(update={"migration": migration, "settled": settled}),))

    async def _write(
        self, event: Event, fields: dict[str, Any], **parts: HandedOver | Settled | Forecast | tuple[DiskReport, ...]
    ) -> None:
        self._sequence += 1
        sequence = self._sequence

        def make() -> Change:
            old = self._record()
            new = old.model_copy(update={"migration": old.migration.model_copy(update=fields), **parts})
            vm = _vm_after(self._records.vm(old.migration.vm), new)
            return Change(vms=(vm,), migrations=(new,), events=(_placed(event, sequence, new.migration),))

        change = await self._records.change(make)
        self._feed.tell(change.migrations[0], change.events[0])


def _placed(event: Event, sequence: int, migration: Migration) -> Event:
    """The event within its migration; its time since the start is ours, because hosts' clocks differ."""
    at_ms = (datetime.now(UTC) - migration.started_at).total_seconds() * 1000
    return event.model_copy(update={"sequence": sequence, "migration": migration.id, "at_ms": round(at_ms, 3)})


def _vm_after(vm: VmRecord, record: MigrationRecord) -> VmRecord:
    """What the record of the VM says while, and after, this migration moves it."""
    migration = record.migration
    fields: dict[str, Any] = {"state": VmState.migrating, "reason": None}
    if record.handed or migration.phase in {Phase.settling, Phase.done}:
        fields["host"] = migration.destination
        fields |= {"spec": record.plan.spec, "pinned": record.plan.pinned} if record.plan else {}
    if migration.phase in ENDED:
        resting = migration.kind is Kind.cold and not migration.request.shut_down
        fields |= {"state": VmState.stopped if resting else VmState.running, "migration": None}
    if migration.phase is Phase.in_doubt:
        fields |= {"state": VmState.in_doubt, "reason": migration.error}
    if migration.phase is Phase.lost:
        fields |= {"state": VmState.crashed, "reason": migration.error}
    return vm.model_copy(update=fields)

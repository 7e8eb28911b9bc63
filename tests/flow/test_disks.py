"""The story of disks on fakes: with the VM, without it, and while it is off; interrupted at every verb in every way."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Any, cast

import pytest

from godwit.contract.disks import Blank, CreateDisk, PlaceDisks
from godwit.contract.host import Host, Nothing, StartVm
from godwit.core.errors import Cancelled, Refused
from godwit.core.migration import Kind, MigrationRequest
from godwit.core.model import DatastoreFacts, Disk, VmSpec
from godwit.core.phase import DEADLINES_S, Phase
from godwit.core.plan import Move
from godwit.flow.migrate import migrate
from godwit.testing.clock import run
from godwit.testing.diary import MemoryDiary
from godwit.testing.faults import Fault, FaultyHost, faulty
from godwit.testing.world import PINNED, SPEC, World

REPEATED = [Fault.answer_lost, Fault.too_slow]
"""Of these nobody can tell whether the order was carried out."""
FAULTS = [Fault.fails_before, Fault.fails_after, *REPEATED]


@dataclass
class Stage:
    """A world whose VM has two disks in `local`, of which each host has its own, and which shall go somewhere."""

    world: World
    kind: Kind
    spec: VmSpec
    runs: bool = True
    diary: MemoryDiary | None = None

    @property
    def goes_to(self) -> str:
        return "host-a" if self.kind is Kind.storage else "host-b"

    def move(self, attempt: int = 1) -> Move:
        cold = self.kind is Kind.cold
        datastore = "default" if self.kind is Kind.storage else "local"
        request = MigrationRequest(vm=SPEC.name, datastore=datastore, cold=cold, shut_down=cold and self.runs)
        return Move(
            migration=f"m{attempt}",
            attempt=1,
            epoch=attempt,
            spec=self.spec,
            pinned=PINNED,
            source="host-a",
            destination=self.goes_to,
            request=request,
        )

    def sides(self, instead: dict[str, Host] | None = None) -> dict[str, Host]:
        there: Host = self.world.source if self.kind is Kind.storage else self.world.destination
        found = {"source": cast(Host, self.world.source), "destination": there} | (instead or {})
        if self.kind is Kind.storage:
            found["destination"] = found["source"]
        return found

    async def tell(self, instead: dict[str, Host] | None = None, *, attempt: int = 1) -> MemoryDiary:
        self.diary = MemoryDiary()
        sides = self.sides(instead)
        await migrate(self.move(attempt), source=sides["source"], destination=sides["destination"], diary=self.diary)
        return self.diary

    @property
    def files(self) -> list[str]:
        return sorted(self.world.source.files)

    def assert_moved(self) -> None:
        store = "/datastore" if self.kind is Kind.storage else "host-b:/local"
        assert self.files == [f"{store}/web-1/data.raw", f"{store}/web-1/more.raw"]
        assert self.world.runs_on == ([self.goes_to] if self.runs else [])
        assert self.world.leftovers() == []

    def assert_stayed(self) -> None:
        assert self.files == ["host-a:/local/web-1/data.raw", "host-a:/local/web-1/more.raw"]
        assert self.world.runs_on == (["host-a"] if self.runs else [])
        assert self.world.leftovers() == []


async def a_stage(kind: Kind, *, runs: bool = True, preallocated: bool = False) -> Stage:
    world, disks = World(), list[Disk]()
    for host in (world.source, world.destination):
        local = DatastoreFacts(name="local", path="/local", shared=False, free_bytes=1 << 30, token=f"of {host.name}")
        host.told = host.told.model_copy(update={"datastores": (*host.told.datastores, local)})
    for name in ("data", "more"):
        order = CreateDisk(vm=SPEC.name, name=name, datastore="local", content=Blank(size_bytes=1 << 20))
        disk = await world.source.create_disk(order)
        disks.append(disk.model_copy(update={"preallocated": preallocated}))
    spec = SPEC.model_copy(update={"disks": tuple(disks)})
    if runs:
        await world.source.start_vm(StartVm(spec=spec, pinned=PINNED))
    return Stage(world, kind, spec, runs)


SOURCE_VERBS = {
    Kind.live: ("mirror_disks", "copy", "hand_over", "remove_disk"),
    Kind.storage: ("place_disks", "mirror_disks", "finish_disks", "keep_disks", "remove_disk", "release"),
    Kind.cold: ("stop_vm", "mirror_disks", "finish_disks", "digest_disks", "give_vm", "remove_disk"),
}
DESTINATION_VERBS = {
    Kind.live: ("place_disks", "serve_disks", "keep_disks"),
    Kind.storage: (),
    Kind.cold: ("place_disks", "serve_disks", "digest_disks", "take_vm", "keep_disks", "start_vm"),
}
LATE = {"hand_over", "finish_disks", "give_vm", "take_vm", "keep_disks", "remove_disk", "release", "start_vm"}
"""From the hand-over on."""
RUNNING = [(Kind.live, True), (Kind.storage, True), (Kind.cold, True), (Kind.cold, False)]
EACH = [
    (kind, side, verb)
    for side, verbs in (("source", SOURCE_VERBS), ("destination", DESTINATION_VERBS))
    for kind in Kind
    for verb in verbs[kind]
]


@pytest.mark.parametrize(("kind", "runs"), RUNNING)
def test_disks_go_and_nothing_is_left(kind: Kind, runs: bool) -> None:
    async def story() -> None:
        stage = await a_stage(kind, runs=runs)

        diary = await stage.tell()

        assert diary.phase == Phase.done, diary.error
        stage.assert_moved()
        assert diary.plan is not None
        assert [disk.datastore for disk in diary.plan.spec.disks] == [
            "default" if kind is Kind.storage else "local"
        ] * 2
        assert diary.is_settled

    run(story())


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize(("kind", "side", "verb"), EACH)
def test_a_verb_that_goes_wrong_leaves_one_vm_with_all_its_disks(
    kind: Kind, side: str, verb: str, fault: Fault
) -> None:
    async def story() -> None:
        stage = await a_stage(kind)
        host = stage.world.source if side == "source" or kind is Kind.storage else stage.world.destination

        diary = await stage.tell({side: faulty(cast(Host, host), verb, fault)})

        assert len(stage.world.runs_on) <= 1
        if diary.phase == Phase.failed:
            stage.assert_stayed()
            assert (await stage.tell(attempt=2)).phase == Phase.done
            stage.assert_moved()
        elif diary.phase == Phase.done:
            assert len(stage.files) in {2, 3, 4}, "an old disk may be left, and the diary says so"
            assert stage.world.runs_on == [stage.goes_to] or verb == "start_vm"
        else:
            assert diary.phase == Phase.in_doubt
            assert verb in {"hand_over", "keep_disks", "finish_disks", "give_vm", "take_vm", "release"}

    run(story())


@pytest.mark.parametrize("fault", REPEATED)
@pytest.mark.parametrize("verb", ["serve_disks", "keep_disks", "end_mirror", "remove_disk"])
def test_a_host_that_is_busy_with_disks_is_asked_again(verb: str, fault: Fault) -> None:
    async def story() -> None:
        stage = await a_stage(Kind.live)
        side = "destination" if verb in DESTINATION_VERBS[Kind.live] else "source"
        diary = await stage.tell({side: faulty(cast(Host, getattr(stage.world, side)), verb, fault)})

        assert diary.phase == Phase.done, diary.error
        stage.assert_moved()

    run(story())


@pytest.mark.parametrize(("kind", "side", "verb"), EACH)
def test_cancelling_during_a_verb_undoes_everything_before_the_hand_over(kind: Kind, side: str, verb: str) -> None:
    async def story() -> None:
        stage = await a_stage(kind)
        actor = stage.world.source if side == "source" or kind is Kind.storage else stage.world.destination
        host = FaultyHost(cast(Host, actor), verb, Fault.hangs)
        sides, diary = stage.sides({side: cast(Host, host)}), MemoryDiary()
        task = asyncio.create_task(
            migrate(stage.move(), source=sides["source"], destination=sides["destination"], diary=diary)
        )
        await host.struck.wait()

        task.cancel()
        await asyncio.wait([task])

        assert len(stage.world.runs_on) <= 1
        if diary.phase == Phase.cancelled:
            assert isinstance(diary.error, Cancelled)
            stage.assert_stayed()
        elif verb == "hand_over":
            assert diary.phase == Phase.failed
            stage.assert_stayed()
        else:
            assert verb in LATE
            assert diary.phase == Phase.in_doubt

    run(story())


@pytest.mark.parametrize("runs", [True, False])
def test_a_cold_move_whose_disks_both_hosts_see_takes_none_of_them(runs: bool) -> None:
    async def story() -> None:
        world = World()
        order = CreateDisk(vm=SPEC.name, name="data", datastore="default", content=Blank(size_bytes=1 << 20))
        spec = SPEC.model_copy(update={"disks": (await world.source.create_disk(order),)})
        if runs:
            await world.source.start_vm(StartVm(spec=spec, pinned=PINNED))
        diary, request = MemoryDiary(), MigrationRequest(vm=SPEC.name, cold=True, shut_down=runs)
        move = Stage(world, Kind.cold, spec, runs).move().model_copy(update={"request": request})

        await migrate(move, source=world.source, destination=world.destination, diary=diary)

        assert diary.phase == Phase.done, diary.error
        assert world.runs_on == (["host-b"] if runs else [])
        assert list(world.source.files) == ["/datastore/web-1/data.raw"]
        assert world.leftovers() == []

    run(story())


def test_a_disk_whose_copy_breaks_at_the_end_stays_and_the_other_goes() -> None:
    async def story() -> None:
        stage = await a_stage(Kind.storage)
        stage.world.source.breaks.add("more")

        diary = await stage.tell()

        assert diary.phase == Phase.failed
        assert "more of web-1 stayed where it was" in str(diary.error)
        assert stage.files == ["/datastore/web-1/data.raw", "host-a:/local/web-1/more.raw"]
        assert diary.spec is not None
        assert [disk.datastore for disk in diary.spec.disks] == ["default", "local"]
        assert stage.world.leftovers() == []

    run(story())


def test_a_vm_that_was_given_away_is_not_started_by_an_older_word() -> None:
    async def story() -> None:
        stage = await a_stage(Kind.cold, runs=False)
        await stage.tell()

        with pytest.raises(Refused, match="was given away by host-a"):
            await stage.world.source.start_vm(StartVm(spec=stage.spec, pinned=PINNED, epoch=1))
        assert stage.diary is not None
        assert stage.diary.plan is not None
        await stage.world.destination.start_vm(StartVm(spec=stage.diary.plan.spec, pinned=PINNED, epoch=1))

    run(story())


def test_a_cold_move_of_a_vm_that_runs_is_refused_without_leave_to_stop_it() -> None:
    async def story() -> None:
        stage = await a_stage(Kind.cold)
        stage.runs = False

        diary = await stage.tell()

        assert isinstance(diary.error, Refused)
        assert "web-1 is not off" in diary.error.message
        assert stage.world.runs_on == ["host-a"]

    run(story())


@pytest.mark.parametrize("runs", [True, False])
def test_a_copy_that_reads_otherwise_is_not_used(runs: bool) -> None:
    async def story() -> None:
        stage = await a_stage(Kind.cold, runs=runs)
        stage.world.destination.rots.add("more")

        diary = await stage.tell()

        assert diary.phase == Phase.failed
        assert "more of web-1 reads otherwise at host-b" in str(diary.error)
        stage.assert_stayed()
        stage.world.destination.rots.clear()
        assert (await stage.tell(attempt=2)).phase == Phase.done
        stage.assert_moved()

    run(story())


class Filling:
    """A host whose file system cannot set room aside: every block of a preallocated disk is written."""

    def __init__(self, host: Host) -> None:
        self._host = host

    def __getattr__(self, verb: str) -> Any:
        return getattr(self._host, verb)

    async def place_disks(self, request: PlaceDisks, /) -> Nothing:
        await asyncio.sleep(2 * DEADLINES_S[Phase.preparing])
        return await self._host.place_disks(request)


@pytest.mark.parametrize("kind", [Kind.live, Kind.cold])
def test_preallocated_disks_may_take_long_to_place(kind: Kind) -> None:
    async def story() -> None:
        stage = await a_stage(kind, runs=kind is Kind.live, preallocated=True)
        await stage.tell({"destination": cast(Host, Filling(stage.world.destination))})
        stage.assert_moved()

    run(story())

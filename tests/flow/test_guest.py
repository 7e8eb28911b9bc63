"""A guest is told of its move if that was asked for, and its clock is set; whatever comes of it changes nothing."""

from __future__ import annotations

import pytest

from godwit.contract.host import Host, StartVm
from godwit.core.guest import Heed, Moment, Notice
from godwit.core.migration import EventKind, MigrationRequest
from godwit.core.phase import Phase
from godwit.core.plan import Move
from godwit.flow.migrate import migrate
from godwit.testing.clock import run
from godwit.testing.diary import MemoryDiary
from godwit.testing.fake_guests import BEHIND_MS
from godwit.testing.faults import Fault, faulty
from godwit.testing.world import PINNED, SPEC, World


def a_move(**words: object) -> Move:
    request = MigrationRequest.model_validate({"vm": SPEC.name, "destination": "host-b", **words})
    sides = {"source": "host-a", "destination": "host-b"}
    return Move(migration="m1", attempt=1, epoch=1, spec=SPEC, pinned=PINNED, request=request, **sides)


async def told(world: World, move: Move, source: Host | None = None, destination: Host | None = None) -> MemoryDiary:
    await world.source.start_vm(StartVm(spec=SPEC, pinned=PINNED))
    diary = MemoryDiary()
    await migrate(move, source=source or world.source, destination=destination or world.destination, diary=diary)
    return diary


def moments(world: World) -> list[list[Moment]]:
    return [[each.moment for each in host.notices] for host in (world.source, world.destination)]


def test_before_by_its_source_and_after_by_its_destination() -> None:
    async def story() -> None:
        world = World()
        diary = await told(world, a_move(notify_s=20))
        assert moments(world) == [[Moment.before], [Moment.after]]
        assert (world.source.notices[0].wait_s, world.destination.notices[0].wait_s) == (20, 10)
        (event,) = [each for each in diary.events if "notice" in each.data]
        assert event.kind is EventKind.answered
        assert diary.told is not None
        assert diary.told.greeted.notice == Notice(moment=Moment.after, heed=Heed.heeded, ms=1.0)
        assert diary.phase is Phase.done

    run(story())


def test_unless_nobody_asked_for_it() -> None:
    async def story() -> None:
        world = World()
        await told(world, a_move())
        assert moments(world) == [[], []]

    run(story())


def test_a_guest_that_stays_after_all_is_told_so() -> None:
    async def story() -> None:
        world = World()
        diary = await told(world, a_move(notify_s=5), source=faulty(world.source, "copy", Fault.fails_before))
        assert moments(world) == [[Moment.before, Moment.undone], []]
        assert diary.phase is Phase.failed
        assert world.runs_on == ["host-a"]
        assert world.leftovers() == []

    run(story())


@pytest.mark.parametrize("heed", [Heed.complained, Heed.still_busy, Heed.unheard])
def test_one_that_does_not_heed_it_moves_all_the_same(heed: Heed) -> None:
    async def story() -> None:
        world = World()
        world.source.heed = heed
        diary = await told(world, a_move(notify_s=5))
        (warned,) = [each for each in diary.events if "notice" in each.data and each.kind is EventKind.warned]
        assert "did not heed it: it would not" in warned.text
        assert (diary.phase, world.runs_on) == (Phase.done, ["host-b"])

    run(story())


@pytest.mark.parametrize("fault", Fault)
@pytest.mark.parametrize("verb", ["tell_guest", "set_guest_clock"])
def test_a_host_that_cannot_ask_it_changes_nothing(verb: str, fault: Fault) -> None:
    async def story() -> None:
        world = World()
        hosts = [faulty(host, verb, fault) for host in (world.source, world.destination)]
        diary = await told(world, a_move(notify_s=5), *hosts)
        assert (diary.phase, world.runs_on) == (Phase.done, ["host-b"])
        assert world.leftovers() == []

    run(story())


def test_its_clock_is_set_and_that_is_told() -> None:
    async def story() -> None:
        diary = await told(World(), a_move())
        assert diary.told is not None
        assert diary.told.greeted.clock is not None
        assert diary.told.greeted.clock.skew_ms == BEHIND_MS
        assert diary.events[-1].kind is not EventKind.warned

    run(story())

"""A manager that is killed at any moment of a migration, and the next one, which asks the hosts."""

from __future__ import annotations

from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path

import pytest
from tests.manager.site import MOVE, WEB, Site, ended, make_site, until

from godwit.contract.host import Order, PrepareIncoming, PrepareOutgoing, Reserve
from godwit.contract.store import Change, MigrationRecord
from godwit.core.errors import Refused
from godwit.core.migration import EventKind, Migration
from godwit.core.model import VmState
from godwit.core.phase import STEPS, Phase
from godwit.manager.adopt import route
from godwit.testing.clock import run
from godwit.testing.world import PINNED, SPEC, World

NOW = datetime.now(UTC)


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return make_site(tmp_path)


ORDER = Order(migration="m1", attempt=1, epoch=1, vm="web-1")


async def reserve_source(world: World) -> None:
    await world.source.reserve(Reserve(**ORDER.model_dump(), memory_mib=256, role="source"))


async def reserve_destination(world: World) -> None:
    await world.destination.reserve(Reserve(**ORDER.model_dump(), memory_mib=256, role="destination"))


async def prepare_incoming(world: World) -> None:
    words = ORDER.model_dump() | {
        "source": "host-a",
        "source_peer_address": "192.0.2.1:7411",
        "source_address": "192.0.2.1",
        "multifd": True,
    }
    await world.destination.prepare_incoming(PrepareIncoming(**words, spec=SPEC, pinned=PINNED))


async def prepare_outgoing(world: World) -> None:
    words = ORDER.model_dump() | {"destination": "host-b", "peer_address": "", "uri": "", "multifd": True}
    await world.source.prepare_outgoing(PrepareOutgoing(**words, destination_address="192.0.2.2", max_blackout_ms=300))


async def copy(world: World) -> None:
    async for _ in world.source.copy(ORDER):
        pass


async def hand_over(world: World) -> None:
    await world.source.hand_over(ORDER)


async def settle(world: World) -> None:
    await world.destination.settle(ORDER)


async def retire(world: World) -> None:
    await world.source.retire(ORDER)


STORY = (
    (Phase.reserving, reserve_source),
    (Phase.reserving, reserve_destination),
    (Phase.preparing, prepare_incoming),
    (Phase.preparing, prepare_outgoing),
    (Phase.copying, copy),
    (Phase.handing_over, hand_over),
    (Phase.settling, settle),
    (Phase.settling, retire),
)
"""What the story orders, and the phase that is stored before it does."""


async def kill(site: Site, phase: Phase, orders: int) -> None:
    """A manager stored that phase, gave so many of the story's orders, and was killed."""
    async with site.manager() as manager:
        await manager.inventory.create(WEB)
    (vm,) = await site.store.vms()
    migration = Migration(
        id="m1", vm="web-1", source="host-a", destination="host-b", phase=phase, epoch=1, request=MOVE, started_at=NOW
    )
    moving = vm.model_copy(update={"state": VmState.migrating, "migration": "m1", "epoch": 1})
    await site.store.apply(Change(vms=(moving,), migrations=(MigrationRecord(migration=migration),)))
    for _, order in STORY[:orders]:
        await order(site.world)


KILLS = [
    (Phase.pending, 0),
    (Phase.checking, 0),
    *((phase, number) for number, (phase, _) in enumerate(STORY)),
    *((phase, number) for number, (phase, _) in enumerate(STORY, 1)),
    (Phase.undoing, 4),
]


@pytest.mark.parametrize(("phase", "orders"), KILLS)
def test_wherever_the_manager_was_killed_the_next_one_brings_it_to_an_end(
    site: Site, phase: Phase, orders: int
) -> None:
    async def story() -> None:
        await kill(site, phase, orders)
        async with site.manager() as manager:
            await ended(manager, "m1")
            (migration,) = manager.runner.migrations()
            vm = manager.inventory.view("web-1")
            has_moved = orders >= 6 or phase is Phase.pending  # which waited for its turn, and now had it
            assert migration.phase is (Phase.done if has_moved else Phase.failed)
            assert (vm.state, vm.host, vm.migration) == (VmState.running, "host-b" if has_moved else "host-a", None)
            assert site.world.runs_on == [vm.host]
            assert site.world.leftovers() == []
            if not has_moved:
                assert (
                    migration.error
                    == "the manager ended while web-1 was being moved; it is where it was: move it again"
                )

    run(story())


def test_while_the_owner_is_silent_the_outcome_is_in_doubt_and_then_found(site: Site) -> None:
    async def story() -> None:
        await kill(site, Phase.handing_over, 6)
        site.doors["host-b"].is_cut = True
        manager = site.start()
        await manager.start()
        await until(lambda: manager.runner.migrations()[0].phase is Phase.in_doubt)
        vm = manager.inventory.view("web-1")
        assert (vm.state, vm.migration) == (VmState.in_doubt, "m1")
        assert str(vm.reason).startswith("it is not known where web-1 runs")
        with pytest.raises(Refused, match="is being moved by migration m1"):
            await manager.inventory.stop("web-1")
        site.doors["host-b"].is_cut = False
        await ended(manager, "m1")
        assert manager.inventory.view("web-1").host == "host-b"
        assert manager.runner.migrations()[0].error is None
        await manager.close()

    run(story())


def test_a_destination_that_is_gone_does_not_keep_the_source_from_going_on(site: Site) -> None:
    async def story() -> None:
        await kill(site, Phase.copying, 5)
        site.doors["host-b"].is_cut = True
        manager = site.start()
        await manager.start()
        events = await ended(manager, "m1")
        assert [event.text for event in events if event.kind is EventKind.warned] == [
            "undoing was not complete: the line is cut",
            "undoing was not complete: the line is cut",
        ]
        assert manager.inventory.view("web-1").state is VmState.running
        await manager.close()

    run(story())


def test_a_destination_that_is_restarted_too_is_left_with_nothing(site: Site) -> None:
    async def story() -> None:
        await kill(site, Phase.copying, 5)
        site.doors["host-b"].is_cut = True
        manager = site.start()
        await manager.start()
        await until(lambda: manager.runner.migrations()[0].phase is Phase.undoing)
        site.doors["host-b"].is_cut = False
        events = await ended(manager, "m1")
        assert [event.text for event in events if event.kind is EventKind.warned] == []
        assert site.world.leftovers() == []
        await manager.close()

    run(story())


def test_numbers_of_events_and_migrations_go_on_after_a_restart(site: Site) -> None:
    async def story() -> None:
        async with site.manager() as manager:
            await manager.inventory.create(WEB)
            await manager.runner.start(MOVE)
            first = await ended(manager, "m1")
        async with site.manager() as manager:
            assert await ended(manager, "m1") == first
            assert (await manager.runner.start(MOVE.model_copy(update={"destination": "host-a"}))).id == "m2"
            await ended(manager, "m2")

    run(story())


@pytest.mark.parametrize("now", [phase for phase in Phase if STEPS[phase]])
@pytest.mark.parametrize("goal", [Phase.failed, Phase.done])
def test_a_route_is_a_way_through_the_table(now: Phase, goal: Phase) -> None:
    way = [now, *route(now, goal)]
    assert way[-1] is goal
    assert all(after in STEPS[before] for before, after in pairwise(way))


def test_no_way_leads_back() -> None:
    with pytest.raises(ValueError, match="no way from done to failed"):
        route(Phase.done, Phase.failed)

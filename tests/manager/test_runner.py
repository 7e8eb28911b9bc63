"""Migrations over hosts in memory, with the real story: made, refused, cancelled, picked up after a restart."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from tests.manager.site import MOVE, WEB, Site, ended, make_site, until

from godwit.contract.observed import Observe, Observed
from godwit.core.errors import GodwitError, NotFound, Refused
from godwit.core.migration import EventKind, Migration, MigrationRequest
from godwit.core.model import VmState
from godwit.core.phase import Phase
from godwit.core.resources import VmRequest
from godwit.manager.manager import Manager
from godwit.testing.clock import run


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return make_site(tmp_path)


def record(manager: Manager, id: str = "m1") -> Migration:
    return next(each for each in manager.runner.migrations() if each.id == id)


def test_a_vm_is_moved_and_moved_back(site: Site) -> None:
    async def story() -> None:
        async with site.manager() as manager:
            await manager.inventory.create(WEB)
            first = await manager.runner.start(MOVE)
            assert (first.id, first.phase, first.epoch) == ("m1", Phase.pending, 1)
            assert manager.inventory.view("web-1").state is VmState.migrating
            assert manager.inventory.view("web-1").migration == "m1"
            await ended(manager, "m1")
            site.world.check()
            vm = manager.inventory.view("web-1")
            assert (vm.state, vm.host, vm.migration) == (VmState.running, "host-b", None)
            back = await manager.runner.start(MigrationRequest(vm="web-1"))
            assert (back.id, back.destination, back.epoch) == ("m2", "host-a", 2)
            await ended(manager, "m2")
            assert site.world.runs_on == ["host-a"]
            assert site.world.leftovers() == []
            assert [each.phase for each in manager.runner.migrations()] == [Phase.done, Phase.done]

    run(story())


def test_the_feed_tells_every_phase_in_order_with_numbers(site: Site) -> None:
    async def story() -> None:
        async with site.manager() as manager:
            await manager.inventory.create(WEB)
            await manager.runner.start(MOVE)
            events = await ended(manager, "m1")
            assert [event.sequence for event in events] == list(range(1, len(events) + 1))
            assert {event.migration for event in events} == {"m1"}
            phases = [event.phase for event in events if event.phase]
            assert phases == ["checking", "reserving", "preparing", "copying", "handing-over", "settling", "done"]
            kinds = [event.kind for event in events]
            assert kinds.count(EventKind.pass_completed) == 3
            assert kinds[-1] is EventKind.ended
            assert [event for _, event in site.told] == events
            assert [event async for event in manager.feed.follow("m1", after=5)] == events[5:]

    run(story())


def test_what_clients_saw_is_told_once_however_the_relay_ends(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    async def saw(request: Observe) -> Observed:
        return Observed(is_complete=True, connections=())

    for host in (site.world.source, site.world.destination):
        monkeypatch.setattr(host, "observe", saw)

    async def story() -> None:
        async with site.manager() as manager:
            await manager.inventory.create(WEB)
            await manager.runner.start(MOVE)
            await ended(manager, "m1")
            await until(lambda: manager.runner._tasks == {})
            kinds = [event.kind for _, event in site.told]
            assert (kinds.count(EventKind.observed), kinds[-1] is EventKind.ended) == (1, False)

    run(story())


def test_a_follower_who_comes_late_misses_nothing(site: Site) -> None:
    async def story() -> None:
        async with site.manager() as manager:
            await manager.inventory.create(WEB)
            await manager.runner.start(MOVE)
            early = asyncio.create_task(ended(manager, "m1"))
            await until(lambda: record(manager).phase is Phase.copying)
            late = asyncio.create_task(ended(manager, "m1"))
            assert await early == await late == await ended(manager, "m1")

    run(story())


def test_the_report_tells_what_happened(site: Site) -> None:
    async def story() -> None:
        async with site.manager() as manager:
            await manager.inventory.create(WEB)
            await manager.runner.start(MOVE)
            await ended(manager, "m1")
            report = await manager.runner.report("m1")
            assert (report.outcome, report.settled, report.blackout_ms) == ("done", True, 10.0)
            assert [each.kind for each in report.network.announcements] == ["announce-self"]

    run(story())


@pytest.mark.parametrize(
    ("request_", "kind", "sentence"),
    [
        (MigrationRequest(vm="nil", destination="host-b"), NotFound, "there is no VM 'nil'"),
        (MigrationRequest(vm="web-1", destination="nil"), NotFound, "there is no host 'nil'"),
        (MigrationRequest(vm="web-1", destination="host-a"), Refused, "web-1 runs on host-a already"),
        (MigrationRequest(vm="rests", destination="host-b"), Refused, "rests is stopped on host-a.*--cold"),
    ],
)
def test_what_cannot_be_moved_is_refused(
    site: Site, request_: MigrationRequest, kind: type[GodwitError], sentence: str
) -> None:
    async def story() -> None:
        async with site.manager() as manager:
            await manager.inventory.create(WEB)
            await manager.inventory.create(VmRequest(name="rests", start=False, host="host-a"))
            with pytest.raises(kind, match=sentence):
                await manager.runner.start(request_)
            assert manager.runner.migrations() == []
            assert manager.inventory.view("web-1").state is VmState.running

    run(story())


@pytest.mark.parametrize(
    ("lacks", "sentence"),
    [
        ({"memory_mib": 200}, "too little memory for web-1 .200 MiB of 200 MiB free, web-1 needs 256 MiB"),
        ({"networks": ()}, "host-b has no network 'lan'"),
    ],
)
def test_a_destination_that_lacks_something_is_refused(site: Site, lacks: dict[str, object], sentence: str) -> None:
    async def story() -> None:
        async with site.manager() as manager:
            await manager.inventory.create(WEB)
            site.world.destination.told = site.world.destination.told.model_copy(update=lacks)
            with pytest.raises(Refused, match=sentence):
                await manager.runner.start(MOVE)

    run(story())


@pytest.mark.parametrize("host", ["host-a", "host-b"])
def test_a_host_that_does_not_answer_is_refused(site: Site, host: str) -> None:
    async def story() -> None:
        async with site.manager() as manager:
            await manager.inventory.create(WEB)
            site.doors[host].is_cut = True
            with pytest.raises(Refused, match="the line is cut; nothing was moved"):
                await manager.runner.start(MOVE)

    run(story())


def test_a_vm_that_is_being_moved_is_left_alone(site: Site) -> None:
    async def story() -> None:
        async with site.manager() as manager:
            await manager.inventory.create(WEB)
            await manager.runner.start(MOVE)
            with pytest.raises(Refused, match="is being moved already by migration m1"):
                await manager.runner.start(MOVE)
            with pytest.raises(Refused, match="is being moved by migration m1"):
                await manager.inventory.stop("web-1")
            with pytest.raises(Refused, match="is being moved by migration m1"):
                await manager.inventory.delete("web-1")
            await ended(manager, "m1")

    run(story())


@pytest.mark.parametrize("verb", ["facts", "reserve", "prepare_incoming"])
def test_cancelling_before_the_hand_over_undoes_all(site: Site, verb: str) -> None:
    async def story() -> None:
        async with site.manager() as manager:
            await manager.inventory.create(WEB)
            if verb != "facts":
                entered = site.doors["host-b"].hold(verb)
                await manager.runner.start(MOVE)
                await entered.wait()
            else:
                await manager.runner.start(MOVE)
            await manager.runner.cancel("m1")
            await manager.runner.cancel("m1")  # asking twice is asking once
            await ended(manager, "m1")
            vm = manager.inventory.view("web-1")
            assert (record(manager).phase, record(manager).error_kind) == (Phase.cancelled, "cancelled")
            assert (vm.state, vm.host, vm.migration) == (VmState.running, "host-a", None)
            site.world.check()
            assert site.world.leftovers() == []
            with pytest.raises(Refused, match="has ended already: it is cancelled"):
                await manager.runner.cancel("m1")

    run(story())


def test_cancelling_while_memory_is_copied(site: Site) -> None:
    async def story() -> None:
        async with site.manager() as manager:
            await manager.inventory.create(WEB)
            await manager.runner.start(MOVE)
            await until(lambda: record(manager).phase is Phase.copying)
            await manager.runner.cancel("m1")
            events = await ended(manager, "m1")
            assert [event.phase for event in events if event.phase][-3:] == ["copying", "undoing", "cancelled"]
            assert site.world.leftovers() == []

    run(story())


def test_from_the_hand_over_on_cancelling_is_refused(site: Site) -> None:
    async def story() -> None:
        async with site.manager() as manager:
            await manager.inventory.create(WEB)
            entered = site.doors["host-a"].hold("hand_over")
            await manager.runner.start(MOVE)
            await entered.wait()
            with pytest.raises(Refused, match="is handing-over and must go on"):
                await manager.runner.cancel("m1")
            site.doors["host-a"].held["hand_over"].set()
            await ended(manager, "m1")
            assert record(manager).phase is Phase.done

    run(story())


def test_a_vm_that_dies_while_it_is_moved_is_crashed(site: Site) -> None:
    async def story() -> None:
        async with site.manager() as manager:
            await manager.inventory.create(WEB)
            entered = site.doors["host-b"].hold("prepare_incoming")
            await manager.runner.start(MOVE)
            await entered.wait()
            site.world.source.crash("web-1")
            site.doors["host-b"].held["prepare_incoming"].set()
            await ended(manager, "m1")
            assert record(manager).phase is Phase.failed
            await until(lambda: manager.inventory.view("web-1").state is VmState.crashed)

    run(story())


def test_a_manager_that_ends_undoes_what_can_be_undone(site: Site) -> None:
    async def story() -> None:
        async with site.manager() as manager:
            await manager.inventory.create(WEB)
            await manager.runner.start(MOVE)
            await until(lambda: record(manager).phase is Phase.copying)
        assert (await site.store.migrations())[0].migration.phase is Phase.cancelled
        assert site.world.leftovers() == []

    run(story())

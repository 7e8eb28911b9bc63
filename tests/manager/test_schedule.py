"""Several migrations at once, hosts that are drained, and a manager that restarts meanwhile: over hosts in memory."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from pathlib import Path

import pytest
from tests.manager.site import Site, ended, make_site, until

from godwit.core.errors import NotFound, Refused
from godwit.core.migration import Event, EventKind, MigrationRequest
from godwit.core.model import VmState
from godwit.core.phase import Phase
from godwit.core.resources import DiskRequest, VmRequest
from godwit.manager.manager import Manager
from godwit.manager.turns import PATIENCE_S
from godwit.testing.clock import run

NAMES = ("vm-1", "vm-2", "vm-3")


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return make_site(tmp_path)


async def create(manager: Manager, *names: str, host: str = "host-a", start: bool = True) -> None:
    for name in names:
        await manager.inventory.create(VmRequest(name=name, memory_mib=256, host=host, start=start))


async def move(manager: Manager, name: str, parallel: int | None = None) -> str:
    request = MigrationRequest(vm=name, destination="host-b", parallel=parallel)
    return (await manager.runner.start(request)).id


def phases(manager: Manager) -> list[Phase]:
    return [each.phase for each in manager.runner.migrations()]


def hosts(manager: Manager) -> list[str | None]:
    return [manager.inventory.view(name).host for name in NAMES]


def test_the_third_waits_until_one_has_ended(site: Site) -> None:
    async def story() -> None:
        async with site.manager() as manager:
            await create(manager, *NAMES)
            site.doors["host-b"].hold("prepare_incoming")
            for name in NAMES:
                await move(manager, name)
            await until(lambda: phases(manager) == [Phase.preparing, Phase.preparing, Phase.pending])
            site.doors["host-b"].held["prepare_incoming"].set()
            third = await ended(manager, "m3")
            assert third[0].text.startswith("waits for its turn")
            begun = next(each for each in third if each.phase is Phase.checking)
            assert 0 < manager.runner.migration("m3").waited_ms <= begun.at_ms
            assert phases(manager) == [Phase.done] * 3
            assert hosts(manager) == ["host-b"] * 3

    run(story())


def test_one_after_another(site: Site) -> None:
    async def story() -> None:
        async with site.manager() as manager:
            await create(manager, *NAMES)
            most = 0

            def count(*_: object) -> None:
                nonlocal most
                under_way = [each for each in phases(manager) if each in {Phase.preparing, Phase.copying}]
                most = max(most, len(under_way))

            manager.feed._observers = (*manager.feed._observers, count)
            for name in NAMES:
                await move(manager, name, parallel=1)
            for number in range(1, 4):
                await ended(manager, f"m{number}")
            assert most == 1

    run(story())


def test_who_waits_fails_only_when_nothing_is_heard_of_any_other(site: Site) -> None:
    async def story() -> None:
        async with site.manager() as manager:
            await create(manager, *NAMES)
            copying = site.doors["host-a"].hold("copy")
            long = MigrationRequest(vm="vm-1", destination="host-b", deadline_s=10 * PATIENCE_S)
            await manager.runner.start(long)
            await copying.wait()
            await move(manager, "vm-2", parallel=1)
            for _ in range(3):
                await asyncio.sleep(0.9 * PATIENCE_S)
                event = Event(at=datetime.now(UTC), kind=EventKind.pass_completed, text="goes on")
                manager.feed.tell(manager._records.migration("m1"), event)
            assert phases(manager) == [Phase.copying, Phase.pending]
            await asyncio.sleep(1.1 * PATIENCE_S)
            assert phases(manager) == [Phase.copying, Phase.failed]
            assert "nothing was heard of any other" in (manager.runner.migration("m2").error or "")
            site.doors["host-a"].held["copy"].set()
            await ended(manager, "m1")

    run(story())


def test_what_waits_can_be_cancelled_and_lets_others_pass(site: Site) -> None:
    async def story() -> None:
        async with site.manager() as manager:
            await create(manager, *NAMES)
            entered = site.doors["host-b"].hold("prepare_incoming")
            for name in NAMES:
                await move(manager, name, parallel=1)
            await entered.wait()
            await manager.runner.cancel("m2")
            await ended(manager, "m2")
            vm = manager.inventory.view("vm-2")
            assert (vm.state, vm.host, vm.migration) == (VmState.running, "host-a", None)
            site.doors["host-b"].held["prepare_incoming"].set()
            await ended(manager, "m3")
            assert phases(manager) == [Phase.done, Phase.cancelled, Phase.done]

    run(story())


def test_what_waits_goes_on_with_the_next_manager(site: Site) -> None:
    async def story() -> None:
        async with site.manager() as manager:
            await create(manager, *NAMES)
            entered = site.doors["host-b"].hold("prepare_incoming")
            for name in NAMES:
                await move(manager, name, parallel=1)
            await entered.wait()
        assert phases(manager) == [Phase.cancelled, Phase.pending, Phase.pending]
        site.doors["host-b"].held.clear()
        async with site.manager() as manager:
            await ended(manager, "m2")
            await ended(manager, "m3")
            assert hosts(manager) == ["host-a", "host-b", "host-b"]

    run(story())


def test_memory_that_others_wait_for_is_not_given_twice(site: Site) -> None:
    async def story() -> None:
        async with site.manager() as manager:
            await create(manager, *NAMES)
            entered = site.doors["host-b"].hold("prepare_incoming")
            for name in NAMES:
                await move(manager, name, parallel=1)
            await entered.wait()
            (there,) = [each for each in await manager.fleet.look() if each.host == "host-b"]
            (left,) = manager._records.open_hosts([there])
            assert left.memory_free_mib == there.memory_mib - 3 * 256
            site.doors["host-b"].held["prepare_incoming"].set()
            await ended(manager, "m3")

    run(story())


def test_a_drained_host_is_empty_and_takes_nothing_until_it_is_activated(site: Site) -> None:
    async def story() -> None:
        async with site.manager() as manager:
            await create(manager, *NAMES)
            await create(manager, "rests", start=False)
            plan = await manager.draining.plan("host-a")
            assert not plan.draining
            assert [(each.vm, each.destination) for each in plan.vms if each.can_go] == [
                (name, "host-b") for name in NAMES
            ]
            drain = await manager.draining.drain("host-a", parallel=1)
            assert [each.migration for each in drain.vms] == [None, "m1", "m2", "m3"]
            assert drain.vms[0].why == "it is stopped: only a running VM is moved"
            await ended(manager, "m3")
            assert hosts(manager) == ["host-b"] * 3
            assert [each.draining for each in manager.host_states()] == [True, False]
            with pytest.raises(Refused, match="host-a is being drained"):
                await manager.runner.start(MigrationRequest(vm="vm-1", destination="host-a"))
            with pytest.raises(Refused, match="host-a is being drained"):
                await create(manager, "new")
            assert (await manager.inventory.create(VmRequest(name="new", memory_mib=256))).host == "host-b"
            assert (await manager.inventory.start("rests")).host == "host-b"
            await manager.draining.activate("host-a")
            assert (await manager.inventory.create(VmRequest(name="newer", memory_mib=256))).host == "host-a"

    run(story())


def test_draining_outlives_the_manager(site: Site) -> None:
    async def story() -> None:
        async with site.manager() as manager:
            await create(manager, *NAMES)
            entered = site.doors["host-b"].hold("prepare_incoming")
            await manager.draining.drain("host-a", parallel=1)
            await entered.wait()
        site.doors["host-b"].held.clear()
        async with site.manager() as manager:
            await ended(manager, "m3")
            assert manager.host_state("host-a").draining
            assert hosts(manager) == ["host-a", "host-b", "host-b"]
            again = await manager.draining.drain("host-a")
            await ended(manager, "m4")
            assert [each.vm for each in again.vms] == ["vm-1"]
            assert (await manager.draining.drain("host-a")).vms == ()

    run(story())


def test_what_cannot_go_says_why_and_is_left(site: Site) -> None:
    async def story() -> None:
        async with site.manager() as manager:
            await create(manager, *NAMES)
            told = site.world.destination.told
            site.world.destination.told = told.model_copy(update={"memory_mib": 600, "memory_free_mib": 600})
            drain = await manager.draining.drain("host-a")
            await ended(manager, "m2")
            assert [each.destination for each in drain.vms] == ["host-b", "host-b", None]
            assert drain.vms[2].why is not None
            assert "memory" in drain.vms[2].why
            assert hosts(manager) == ["host-b", "host-b", "host-a"]

    run(story())


def test_drained_once_more_it_follows_what_goes_already_and_begins_nothing_twice(site: Site) -> None:
    async def story() -> None:
        async with site.manager() as manager:
            await create(manager, *NAMES)
            entered = site.doors["host-b"].hold("prepare_incoming")
            first = await manager.draining.drain("host-a", parallel=1)
            await entered.wait()
            again = await manager.draining.drain("host-a")
            assert [each.migration for each in again.vms] == [each.migration for each in first.vms]
            site.doors["host-b"].held["prepare_incoming"].set()
            await ended(manager, "m3")
            assert len(manager.runner.migrations()) == 3

    run(story())


def test_what_is_on_its_way_is_told(site: Site) -> None:
    async def story() -> None:
        async with site.manager() as manager:
            await create(manager, "vm-1")
            entered = site.doors["host-b"].hold("prepare_incoming")
            await move(manager, "vm-1")
            await entered.wait()
            leaving = await manager.draining.plan("host-a")
            coming = await manager.draining.drain("host-b")
            assert (leaving.vms[0].destination, leaving.vms[0].migration) == ("host-b", "m1")
            assert coming.vms[0].why == "m1 brings it here: cancel that, or drain again when it has arrived"
            site.doors["host-b"].held["prepare_incoming"].set()
            await ended(manager, "m1")

    run(story())


def test_a_stopped_vm_whose_disk_is_only_there_is_not_started_elsewhere(site: Site) -> None:
    async def story() -> None:
        async with site.manager() as manager:
            disk = DiskRequest(name="data", size_bytes=1 << 20)
            await manager.inventory.create(
                VmRequest(name="rests", memory_mib=256, host="host-a", start=False, disks=(disk,))
            )
            await manager.draining.drain("host-a")
            assert (await manager.inventory.start("rests")).host == "host-b"

    run(story())


def test_a_host_that_nobody_knows_or_that_is_silent(site: Site) -> None:
    async def story() -> None:
        async with site.manager() as manager:
            for ask in (manager.draining.plan, manager.draining.drain, manager.draining.activate):
                with pytest.raises(NotFound, match="there is no host 'nil'"):
                    await ask("nil")
            site.doors["host-a"].is_cut = True
            with pytest.raises(Refused, match="what runs on host-a cannot be moved"):
                await manager.draining.plan("host-a")

    run(story())


def test_two_in_a_row_do_not_wait_for_the_relay_of_the_first(site: Site) -> None:
    async def story() -> None:
        async with site.manager() as manager:
            await create(manager, "vm-1", "vm-2")
            await move(manager, "vm-1", parallel=1)
            await ended(manager, "m1")
            await asyncio.wait_for(ended(manager, await move(manager, "vm-2", parallel=1)), 600)

    run(story())

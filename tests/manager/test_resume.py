"""A manager that is killed while disks are on their way, with their VM or without: the next one goes on with them."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from pathlib import Path

import pytest
from tests.manager.site import WEB, Site, ended, make_site

from godwit.contract.disks import MirrorDisks, PlaceDisks, RemoveDisk
from godwit.contract.host import Nothing, PrepareIncoming, PrepareOutgoing, Reserve
from godwit.contract.store import Change, MigrationRecord
from godwit.core.migration import Kind, Migration, MigrationRequest
from godwit.core.model import Datastore, VmState
from godwit.core.phase import Phase
from godwit.core.plan import Move, Plan, make
from godwit.core.resources import DiskRequest
from godwit.flow.sides import order
from godwit.testing.clock import run
from godwit.testing.world import World

NEW = ["/fast/web-1/data.raw"]
OLD = ["/datastore/web-1/data.raw"]
WAYS = [(Kind.live, True), (Kind.storage, True), (Kind.cold, True), (Kind.cold, False)]


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return make_site(tmp_path)


async def kill(site: Site, kind: Kind, runs: bool, *, memory_goes: bool = False) -> None:
    """A manager had disks copied, the VM shut down for it if it ran and goes cold, and was killed."""
    async with site.manager() as manager:
        disk = DiskRequest(name="data", size_bytes=1 << 20)
        await manager.inventory.create(WEB.model_copy(update={"disks": (disk,)}))
        await manager.inventory.datastores.add(Datastore(name="fast", path="/fast", shared=True))
        if kind is Kind.cold:
            await manager.inventory.stop("web-1")
    (vm,) = await site.store.vms()
    cold, destination = kind is Kind.cold, where(kind)
    request = MigrationRequest(vm="web-1", datastore="fast", cold=cold, shut_down=cold and runs)
    ids = {"epoch": vm.epoch + 1, "attempt": 1, "source": "host-a", "destination": destination, "request": request}
    there = site.world.source if kind is Kind.storage else site.world.destination
    move = Move(migration="m1", spec=vm.spec, pinned=vm.pinned, **ids)
    facts = [await host.facts(Nothing()) for host in (site.world.source, there)]
    plan = make(move, *facts)
    await place(site.world, kind, plan)
    if memory_goes:
        await mirror_and_copy(site.world, plan)
    migration = Migration(id="m1", vm="web-1", kind=kind, phase=Phase.copying, started_at=datetime.now(UTC), **ids)
    moving = vm.model_copy(update={"state": VmState.migrating, "migration": "m1", "epoch": move.epoch})
    await site.store.apply(Change(vms=(moving,), migrations=(MigrationRecord(migration=migration, plan=plan),)))


def where(kind: Kind) -> str:
    """It goes, or is."""
    return "host-a" if kind is Kind.storage else "host-b"


async def place(world: World, kind: Kind, plan: Plan) -> None:
    words = order(plan.move).model_dump()
    role = "source" if plan.runs and kind is not Kind.cold else "resting"
    await world.source.reserve(Reserve(**words, memory_mib=plan.memory_mib, role=role))
    host = world.source if kind is Kind.storage else world.destination
    if kind is not Kind.storage:
        await host.reserve(Reserve(**words, memory_mib=plan.memory_mib, role="destination"))
    await host.place_disks(PlaceDisks(**words, disks=tuple(each.to for each in plan.disks)))
    if kind is Kind.live:
        await prepare(world, plan)


async def prepare(world: World, plan: Plan) -> None:
    words, source = order(plan.move).model_dump() | {"multifd": False}, "192.0.2.1"
    coming = {"spec": plan.spec, "pinned": plan.pinned, "source": "host-a", "source_peer_address": "192.0.2.1:7411"}
    await world.destination.prepare_incoming(PrepareIncoming(**words, **coming, source_address=source))
    going = {"destination": "host-b", "peer_address": "", "uri": "", "destination_address": "192.0.2.2"}
    await world.source.prepare_outgoing(PrepareOutgoing(**words, **going, max_blackout_ms=300))


async def mirror_and_copy(world: World, plan: Plan) -> None:
    """Disks are equal, and memory is on its way."""
    words = order(plan.move)
    async for _ in world.source.mirror_disks(MirrorDisks(**words.model_dump(), moves=plan.disks)):
        pass
    async for _ in world.source.copy(words):
        pass


@pytest.mark.parametrize(("kind", "runs"), WAYS)
def test_disks_go_on_from_where_they_are(site: Site, kind: Kind, runs: bool) -> None:
    async def story() -> None:
        await kill(site, kind, runs)
        async with site.manager() as manager:
            await ended(manager, "m1")
            assert manager.runner.migration("m1").phase is Phase.done
            vm = manager.inventory.view("web-1")
            state = VmState.running if runs else VmState.stopped
            assert (vm.state, vm.host, vm.migration) == (state, where(kind), None)
            assert [disk.path for disk in vm.disks] == list(site.world.source.files) == NEW
            assert site.world.runs_on == ([vm.host] if runs else [])
            assert site.world.leftovers() == []
            assert len((await manager.runner.report("m1")).disks) == 1
            await asyncio.sleep(5)  # its host is asked once more, and time jumps
            assert manager.inventory.view("web-1").state is state

    run(story())


@pytest.mark.parametrize(("kind", "runs"), WAYS)
def test_it_can_be_cancelled_as_before(site: Site, kind: Kind, runs: bool) -> None:
    async def story() -> None:
        await kill(site, kind, runs)
        copying = site.doors["host-a"].hold("mirror_disks")
        async with site.manager() as manager:
            await copying.wait()
            await manager.runner.cancel("m1")
            await ended(manager, "m1")
            assert manager.runner.migration("m1").phase is Phase.cancelled
            vm = manager.inventory.view("web-1")
            assert (vm.state, vm.host) == (VmState.running if runs else VmState.stopped, "host-a")
            assert list(site.world.source.files) == OLD
            assert site.world.runs_on == (["host-a"] if runs else [])
            assert site.world.leftovers() == []

    run(story())


@pytest.mark.parametrize("is_cancelled", [False, True])
def test_memory_that_is_on_its_way_too_goes_on_and_no_disk_is_copied_again(site: Site, is_cancelled: bool) -> None:
    async def story() -> None:
        await kill(site, Kind.live, True, memory_goes=True)
        again, copying = site.doors["host-a"].hold("mirror_disks"), site.doors["host-a"].hold("copy")
        async with site.manager() as manager:
            await copying.wait()
            if is_cancelled:
                await manager.runner.cancel("m1")
            else:
                site.doors["host-a"].held["copy"].set()
            await ended(manager, "m1")
            assert not again.is_set()
            assert manager.runner.migration("m1").phase is (Phase.cancelled if is_cancelled else Phase.done)
            assert site.world.runs_on == ["host-a" if is_cancelled else "host-b"]
            assert list(site.world.source.files) == (OLD if is_cancelled else NEW)
            assert site.world.leftovers() == []

    run(story())


def test_disks_that_went_before_the_last_word_was_lost_have_gone(site: Site) -> None:
    """Its host has forgotten the move by then: it was told that it was over."""

    async def story() -> None:
        await kill(site, Kind.storage, runs=True)
        (record,) = await site.store.migrations()
        assert record.plan is not None
        words, source = order(record.plan.move), site.world.source
        async for _ in source.mirror_disks(MirrorDisks(**words.model_dump(), moves=record.plan.disks)):
            pass
        await source.finish_disks(words)
        await source.keep_disks(words)
        await source.remove_disk(RemoveDisk(vm="web-1", disk=record.plan.disks[0].disk))
        await source.end_mirror(words)
        (vm,) = await site.store.vms()
        vm = vm.model_copy(update={"spec": record.plan.spec})
        doubtful = record.migration.model_copy(update={"phase": Phase.in_doubt})
        await site.store.apply(Change(vms=(vm,), migrations=(record.model_copy(update={"migration": doubtful}),)))
        async with site.manager() as manager:
            await ended(manager, "m1")
            assert manager.runner.migration("m1").phase is Phase.done
            vm_now = manager.inventory.view("web-1")
            assert (vm_now.state, vm_now.migration) == (VmState.running, None)
            assert [disk.path for disk in vm_now.disks] == list(site.world.source.files) == NEW
            assert site.world.leftovers() == []

    run(story())

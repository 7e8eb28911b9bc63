"""VMs: made, started, stopped, forgotten, and what their hosts tell of them."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from tests.manager.site import MOVE, WEB, Site, make_site, until

from godwit.contract.host import StartVm
from godwit.core.errors import GodwitError, NotFound, Refused, Unreachable
from godwit.core.model import VmState
from godwit.core.resources import NicRequest, VmRequest
from godwit.testing.clock import run
from godwit.testing.world import PINNED, SPEC


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return make_site(tmp_path)


def another(**fields: object) -> VmRequest:
    return WEB.model_copy(update={"name": "web-2", **fields})


def test_a_created_vm_runs_with_all_that_it_is_bound_to(site: Site) -> None:
    async def story() -> None:
        async with site.manager() as manager:
            vm = await manager.inventory.create(WEB)
            assert (vm.state, vm.host, vm.image) == (VmState.running, "host-a", "base")
            assert (vm.machine, vm.cpu_model) == ("pc-q35-7.2", "Nehalem-v1")
            assert [str(nic.ip) for nic in vm.nics] == ["10.90.0.100/24"]
            assert vm.nics[0].mac.startswith("52:54:00:")
            started = site.world.source.vms["web-1"].request
            assert started.spec.uuid == vm.uuid
            assert started.spec.image.kernel.endswith("/base/vmlinuz")

    run(story())


def test_without_a_host_the_freest_one_is_chosen(site: Site) -> None:
    async def story() -> None:
        async with site.manager() as manager:
            await manager.inventory.create(WEB)
            assert (await manager.inventory.create(another(host=None))).host == "host-b"

    run(story())


def test_addresses_are_handed_out_once_and_come_back(site: Site) -> None:
    async def story() -> None:
        async with site.manager() as manager:
            for number in (1, 2, 3):
                await manager.inventory.create(WEB.model_copy(update={"name": f"web-{number}"}))
            with pytest.raises(Refused, match="all addresses of network lan"):
                await manager.inventory.create(another(name="web-4"))
            await manager.inventory.stop("web-2")
            await manager.inventory.delete("web-2")
            vm = await manager.inventory.create(another(name="web-4"))
            assert str(vm.nics[0].ip) == "10.90.0.101/24"

    run(story())


@pytest.mark.parametrize(
    ("request_", "kind", "sentence"),
    [
        (WEB, Refused, "there is a VM 'web-1' already"),
        (another(image="nil"), NotFound, "there is no image 'nil': the manager's configuration names base, broken"),
        (another(image="broken"), Refused, "image 'broken' cannot be used"),
        (
            another(nics=(NicRequest(network="wan"),)),
            NotFound,
            "there is no network 'wan': the manager knows dark, lan",
        ),
        (another(nics=(NicRequest(network="dark"),)), Refused, "host-a has no network 'dark'"),
        (another(host="host-z"), NotFound, "there is no host 'host-z': the manager knows host-a, host-b"),
        (another(memory_mib=4096), Refused, "needs 4096 MiB: host-a has 1792 MiB free"),
        (another(cpu_model="Haswell"), Refused, "CPU model Haswell cannot run on host-a, host-b"),
    ],
)
def test_what_cannot_be_made_is_refused_and_leaves_nothing(
    site: Site, request_: VmRequest, kind: type[GodwitError], sentence: str
) -> None:
    async def story() -> None:
        async with site.manager() as manager:
            await manager.inventory.create(WEB)
            with pytest.raises(kind, match=sentence):
                await manager.inventory.create(request_)
            assert [vm.name for vm in manager.inventory.views()] == ["web-1"]

    run(story())


def test_a_host_that_does_not_answer_is_no_place_to_start(site: Site) -> None:
    async def story() -> None:
        async with site.manager() as manager:
            site.doors["host-a"].is_cut = True
            with pytest.raises(Refused, match="host-a does not answer"):
                await manager.inventory.create(WEB)
            assert (await manager.inventory.create(another(host=None))).host == "host-b"
            assert not manager.fleet.state("host-a").reachable

    run(story())


def test_a_vm_that_does_not_start_is_not_known(site: Site) -> None:
    async def story() -> None:
        async with site.manager() as manager:
            await manager.inventory.create(WEB)
            await manager.inventory.stop("web-1")
            await manager.inventory.delete("web-1")
            await site.world.source.start_vm(StartVm(spec=SPEC, pinned=PINNED))
            with pytest.raises(Refused, match="is on host-a already"):
                await manager.inventory.create(WEB)
            assert manager.inventory.views() == []

    run(story())


def test_stop_start_and_delete(site: Site) -> None:
    async def story() -> None:
        async with site.manager() as manager:
            vms = manager.inventory
            await vms.create(WEB)
            with pytest.raises(Refused, match="is running on host-a already"):
                await vms.start("web-1")
            with pytest.raises(Refused, match="stop it first with `godwit vm stop web-1`"):
                await vms.delete("web-1")
            assert (await vms.stop("web-1")).state is VmState.stopped
            assert site.world.source.vms == {}
            with pytest.raises(Refused, match="is stopped already"):
                await vms.stop("web-1")
            assert (await vms.start("web-1")).state is VmState.running
            await vms.stop("web-1")
            await vms.delete("web-1")
            with pytest.raises(NotFound, match="there is no VM 'web-1'"):
                vms.view("web-1")

    run(story())


def test_a_stopped_vm_starts_elsewhere_when_its_host_is_gone(site: Site) -> None:
    async def story() -> None:
        async with site.manager() as manager:
            await manager.inventory.create(WEB)
            await manager.inventory.stop("web-1")
            site.doors["host-a"].is_cut = True
            assert (await manager.inventory.start("web-1")).host == "host-b"

    run(story())


def test_only_one_thing_happens_to_a_vm_at_a_time(site: Site) -> None:
    async def story() -> None:
        async with site.manager() as manager:
            entered = site.doors["host-a"].hold("start_vm")
            creating = asyncio.create_task(manager.inventory.create(WEB))
            await entered.wait()
            for act in (manager.inventory.stop("web-1"), manager.inventory.start("web-1"), manager.runner.start(MOVE)):
                with pytest.raises(Refused, match="web-1 is being created: try again when that has ended"):
                    await act
            site.doors["host-a"].held["start_vm"].set()
            assert (await creating).state is VmState.running

    run(story())


def test_a_vm_whose_qemu_dies_is_crashed_and_may_be_started_again(site: Site) -> None:
    async def story() -> None:
        async with site.manager() as manager:
            await manager.inventory.create(WEB)
            await until(lambda: bool(site.world.source.listeners))
            site.world.source.crash("web-1")
            await until(lambda: manager.inventory.view("web-1").state is VmState.crashed)
            assert "QEMU on host-a ended with exit status 139" in str(manager.inventory.view("web-1").reason)
            vm = await manager.inventory.start("web-1")
            assert (vm.state, vm.reason) == (VmState.running, None)

    run(story())


def test_a_host_that_comes_back_without_the_vm_makes_it_crashed(site: Site) -> None:
    async def story() -> None:
        async with site.manager() as manager:
            await manager.inventory.create(WEB)
        site.world.source.vms.clear()
        async with site.manager() as manager:
            await until(lambda: manager.inventory.view("web-1").state is VmState.crashed)
            assert "it is not on host-a" in str(manager.inventory.view("web-1").reason)

    run(story())


def test_a_look_while_somebody_starts_a_vm_does_not_take_it_for_crashed(site: Site) -> None:
    """As at the end of a move of a VM that was off: its host does not know it yet."""

    async def story() -> None:
        async with site.manager() as manager:
            entered = site.doors["host-a"].hold("start_vm")
            creating = asyncio.create_task(manager.inventory.create(WEB))
            await entered.wait()
            await manager._watcher.look("web-1")
            assert manager.inventory.view("web-1").state is VmState.starting
            site.doors["host-a"].held["start_vm"].set()
            assert (await creating).state is VmState.running

    run(story())


def test_a_start_whose_answer_is_lost_is_told_by_the_host(site: Site) -> None:
    async def story() -> None:
        async with site.manager() as manager:
            site.doors["host-a"].loses_answers_of.add("start_vm")
            with pytest.raises(Unreachable):
                await manager.inventory.create(WEB)
            assert site.world.source.is_running("web-1")
            assert manager.inventory.view("web-1").state is VmState.starting
        async with site.manager() as manager:
            await until(lambda: manager.inventory.view("web-1").state is VmState.running)

    run(story())


def test_a_restarted_manager_knows_its_vms(site: Site) -> None:
    async def story() -> None:
        async with site.manager() as manager:
            before = await manager.inventory.create(WEB)
        async with site.manager() as manager:
            assert manager.inventory.views() == [before]

    run(story())

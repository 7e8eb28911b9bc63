"""The disks of VMs: planned, made, moved with, removed, and never left behind."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from tests.manager.site import MOVE, WEB, Site, make_site

from godwit.contract.disks import Blank, CreateDisk, FromImage, Seed, UefiVariables
from godwit.contract.host import StartVm
from godwit.core.config import DatastoreConfig
from godwit.core.errors import GodwitError, Invalid, NotFound, Refused, Unreachable
from godwit.core.model import DatastoreFacts, DiskFormat, FirmwareKind, UefiFacts, VmState
from godwit.core.resources import CloudInitRequest, DiskRequest, RootDiskRequest, VmRequest
from godwit.testing.clock import run
from godwit.testing.world import PINNED, SPEC

DATA = DiskRequest(name="data", size_bytes=1 << 20)
MORE = DiskRequest(name="more", size_bytes=1 << 20, format=DiskFormat.qcow2)
CLOUD = WEB.model_copy(update={"image": "/images/debian.qcow2", "cloud_init": CloudInitRequest(), "disks": (DATA,)})
FOREIGN = CreateDisk(vm="web-1", name="more", datastore="default", content=Blank(size_bytes=512))
OVMF = UefiFacts(code="/code", variables="/variables", code_bytes=1)


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return make_site(tmp_path)


def with_disks(*disks: DiskRequest, **fields: object) -> VmRequest:
    return WEB.model_copy(update={"disks": disks, **fields})


def local_datastore(site: Site) -> None:
    """Both hosts have a datastore of that name, each its own."""
    for host in (site.world.source, site.world.destination):
        local = DatastoreFacts(name="local", path="/local", shared=False, free_bytes=1 << 30)
        host.told = host.told.model_copy(update={"datastores": (*host.told.datastores, local)})
    site.config = site.config.model_copy(
        update={"datastores": {**site.config.datastores, "local": DatastoreConfig(path=Path("/local"))}}
    )


def test_disks_are_made_before_the_vm_starts_and_are_removed_with_it(site: Site) -> None:
    async def story() -> None:
        async with site.manager() as manager:
            vm = await manager.inventory.create(with_disks(DATA, MORE))
            paths = ["/datastore/web-1/data.raw", "/datastore/web-1/more.qcow2"]
            assert [disk.path for disk in vm.disks] == list(site.world.source.files) == paths
            assert site.world.source.vms["web-1"].request.spec.disks == vm.disks
            assert [(disk.vm, disk.path) for disk in manager.inventory.disks()] == [("web-1", path) for path in paths]
            with pytest.raises(Refused, match="stop it first"):
                await manager.inventory.delete("web-1")
            assert list(site.world.source.files) == paths
            await manager.inventory.stop("web-1")
            await manager.inventory.delete("web-1")
            assert site.world.source.files == {}

    run(story())


def test_a_disk_image_becomes_a_root_disk_a_seed_and_the_rest(site: Site) -> None:
    async def story() -> None:
        async with site.manager() as manager:
            root = RootDiskRequest(size_bytes=1 << 30)
            vm = await manager.inventory.create(CLOUD.model_copy(update={"root_disk": root}))
            assert [(disk.name, disk.read_only) for disk in vm.disks] == [
                ("root", False),
                ("cloud-init", True),
                ("data", False),
            ]
            made = [order.content for order in site.world.source.files.values()]
            assert made[0] == FromImage(path="/images/debian.qcow2", size_bytes=1 << 30)
            assert isinstance(made[1], Seed)
            assert "10.90.0.100/24" in made[1].files["network-config"]
            assert vm.image == "/images/debian.qcow2"
            assert site.world.source.vms["web-1"].request.spec.image.kernel == ""

    run(story())


def test_uefi_starts_where_there_is_one_and_its_variables_lie_in_the_datastore(site: Site) -> None:
    uefi = CLOUD.model_copy(update={"firmware": FirmwareKind.uefi, "host": None})

    async def story() -> None:
        async with site.manager() as manager:
            with pytest.raises(Refused, match=r"host-a has no UEFI firmware .package ovmf."):
                await manager.inventory.create(uefi)
            site.world.destination.told = site.world.destination.told.model_copy(update={"uefi": OVMF})
            vm = await manager.inventory.create(uefi)
            assert (vm.host, vm.firmware) == ("host-b", FirmwareKind.uefi)
            order = site.world.source.files["/datastore/web-1/uefi-variables.raw"]
            assert isinstance(order.content, UefiVariables)
            await manager.inventory.stop("web-1")
            await manager.inventory.delete("web-1")
            assert site.world.source.files == {}

    run(story())


def test_without_cloud_init_there_is_no_seed_and_a_link_is_qcow2(site: Site) -> None:
    async def story() -> None:
        async with site.manager() as manager:
            root = RootDiskRequest(link=True)
            await manager.inventory.create(CLOUD.model_copy(update={"cloud_init": None, "root_disk": root}))
            assert list(site.world.source.files) == ["/datastore/web-1/root.qcow2", "/datastore/web-1/data.raw"]

    run(story())


@pytest.mark.parametrize(
    ("request_", "kind", "sentence"),
    [
        (with_disks(DATA, DATA), Invalid, "two disks named 'data'"),
        (with_disks(DATA.model_copy(update={"name": "root"})), Invalid, "two disks named 'root'"),
        (with_disks(DATA.model_copy(update={"datastore": "nil"})), NotFound, "no datastore 'nil': the manager knows"),
        (with_disks(cloud_init=CloudInitRequest()), Invalid, "cloud-init shall be needs a disk image"),
        (with_disks(root_disk=RootDiskRequest()), Invalid, "root disk shall be needs a disk image"),
        (with_disks(firmware=FirmwareKind.uefi), Invalid, "UEFI needs a disk image"),
        (with_disks(DATA, MORE.model_copy(update={"size_bytes": 1 << 50})), Refused, "has 1099511627776 bytes free"),
    ],
)
def test_what_cannot_be_made_leaves_no_vm_and_no_disk(
    site: Site, request_: VmRequest, kind: type[GodwitError], sentence: str
) -> None:
    async def story() -> None:
        async with site.manager() as manager:
            with pytest.raises(kind, match=sentence):
                await manager.inventory.create(request_)
            assert manager.inventory.views() == []
            assert site.world.source.files == {}

    run(story())


def test_a_vm_that_does_not_start_leaves_no_disk(site: Site) -> None:
    async def story() -> None:
        async with site.manager() as manager:
            entered = site.doors["host-a"].hold("create_disk")
            creating = asyncio.create_task(manager.inventory.create(with_disks(DATA)))
            await entered.wait()
            site.world.source.promised_mib["other"] = 2048  # its memory is gone meanwhile
            site.doors["host-a"].held["create_disk"].set()
            with pytest.raises(Refused, match="host-a has 0 MiB free"):
                await creating
            assert manager.inventory.views() == []
            assert site.world.source.files == {}

    run(story())


def test_disks_that_cannot_be_removed_keep_their_vm_known(site: Site) -> None:
    async def story() -> None:
        async with site.manager() as manager:
            await site.world.source.start_vm(StartVm(spec=SPEC, pinned=PINNED))
            with pytest.raises(Refused, match="is on host-a already"):
                await manager.inventory.create(with_disks(DATA))
            vm = manager.inventory.view("web-1")
            assert vm.state is VmState.stopped
            assert "its disks are left (web-1 uses its disk data on host-a): delete it later" in str(vm.reason)
            site.world.source.vms.clear()
            await manager.inventory.delete("web-1")
            assert site.world.source.files == {}

    run(story())


def test_a_second_disk_that_fails_takes_the_first_with_it(site: Site) -> None:
    async def story() -> None:
        async with site.manager() as manager:
            site.world.source.files["/datastore/web-1/more.qcow2"] = FOREIGN
            with pytest.raises(Refused, match=r"/datastore/web-1/more.qcow2 is there already"):
                await manager.inventory.create(with_disks(DATA, MORE))
            assert site.world.source.files == {"/datastore/web-1/more.qcow2": FOREIGN}

    run(story())


def test_a_host_that_shares_the_datastore_removes_for_one_that_is_gone(site: Site) -> None:
    async def story() -> None:
        async with site.manager() as manager:
            await manager.inventory.create(with_disks(DATA))
            await manager.inventory.stop("web-1")
            site.doors["host-a"].is_cut = True
            await manager.inventory.delete("web-1")
            assert site.world.destination.files == {}

    run(story())


def test_a_local_disk_keeps_its_vm_at_its_host(site: Site) -> None:
    local_datastore(site)

    async def story() -> None:
        async with site.manager() as manager:
            await manager.inventory.create(with_disks(DATA.model_copy(update={"datastore": "local"})))
            with pytest.raises(Refused, match="'local', which is not shared by host-a and host-b"):
                await manager.runner.start(MOVE)
            await manager.inventory.stop("web-1")
            site.doors["host-a"].is_cut = True
            with pytest.raises(Refused, match="disk data of web-1 lies on host-a only"):
                await manager.inventory.start("web-1")
            with pytest.raises(Unreachable, match="disk data of web-1 lies on host-a, which does not answer"):
                await manager.inventory.delete("web-1")
            assert manager.inventory.view("web-1").state is VmState.stopped

    run(story())

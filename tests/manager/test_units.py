"""Units of an iSCSI target: each is one disk's at most, whoever asks for one and when."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from tests.manager.site import WEB, Site, ended, make_site

from godwit.core.errors import Invalid, Refused
from godwit.core.migration import MigrationRequest
from godwit.core.model import MIB, Datastore, DatastoreFacts, Disk, Lun
from godwit.core.phase import Phase
from godwit.core.resources import DiskRequest, RootDiskRequest, VmRequest
from godwit.manager.manager import Manager
from godwit.testing.clock import run

URL = "iscsi://10.0.9.5/store"
SAN = DatastoreFacts(
    name="san",
    kind="iscsi",
    path=URL,
    shared=True,
    free_bytes=1 << 30,
    luns=tuple(Lun(number=n, size_bytes=mib * MIB, serial=f"s{n}") for n, mib in ((1, 64), (2, 16), (3, 32))),
    token="s1 s2 s3",
)


@pytest.fixture
def site(tmp_path: Path) -> Site:
    site = make_site(tmp_path)
    for host in (site.world.source, site.world.destination):
        host.told = host.told.model_copy(update={"datastores": (*host.told.datastores, SAN)})
    return site


def wants(*sizes_mib: int, vm: str = "web-1", datastore: str = "san") -> VmRequest:
    disks = [DiskRequest(name=f"d{n}", size_bytes=mib * MIB, datastore=datastore) for n, mib in enumerate(sizes_mib)]
    return WEB.model_copy(update={"name": vm, "disks": tuple(disks)})


async def ready(manager: Manager) -> None:
    await manager.inventory.datastores.add(Datastore(name="san", kind="iscsi", path=URL))


def paths(disks: tuple[Disk, ...]) -> list[str]:
    return [disk.path.removeprefix(f"{URL}/") for disk in disks]


def test_each_disk_gets_the_smallest_unit_that_holds_it_and_is_nobodys(site: Site) -> None:
    async def story() -> None:
        async with site.manager() as manager:
            await ready(manager)
            vm = await manager.inventory.create(wants(20, 8))
            assert paths(vm.disks) == ["3", "2"]
            assert manager.inventory.datastores.view("san").free_bytes["host-a"] == 64 * MIB
            with pytest.raises(Refused, match="no unit for disk d1 of web-2 that holds 1 MiB and is nobody's"):
                await manager.inventory.create(wants(1, 1, vm="web-2"))
            assert [each.name for each in manager.inventory.views()] == ["web-1"]

    run(story())


def test_two_that_are_made_at_once_get_two(site: Site) -> None:
    async def story() -> None:
        async with site.manager() as manager:
            await ready(manager)
            made = await asyncio.gather(*(manager.inventory.create(wants(8, vm=vm)) for vm in ("web-1", "web-2")))
            assert sorted(paths(vm.disks)[0] for vm in made) == ["2", "3"]

    run(story())


def test_two_migrations_that_chose_the_same_one_before_either_was_planned(site: Site) -> None:
    """The second is refused when its plan is to be kept: by then it is the first one's."""

    async def story() -> None:
        async with site.manager() as manager:
            await ready(manager)
            names = ("web-1", "web-2")
            for vm in names:
                await manager.inventory.create(wants(20, vm=vm, datastore="default"))
            go = [manager.runner.start(MigrationRequest(vm=vm, datastore="san")) for vm in names]
            begun = await asyncio.gather(*go)
            ends = [(await ended(manager, each.id))[-1] for each in begun]
            assert sorted(str(each.phase) for each in ends) == [Phase.done, Phase.failed]
            assert any("was taken by another meanwhile" in each.text for each in ends)
            assert sorted(paths(manager.inventory.view(vm).disks)[0][:1] for vm in names) == ["/", "3"]

    run(story())


def test_an_image_must_say_how_large_its_disk_shall_be(site: Site) -> None:
    async def story() -> None:
        async with site.manager() as manager:
            await ready(manager)
            image = WEB.model_copy(update={"image": "/debian.qcow2", "root_disk": RootDiskRequest(datastore="san")})
            with pytest.raises(Invalid, match="say how large it shall be"):
                await manager.inventory.create(image)

    run(story())

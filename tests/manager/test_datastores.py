"""Datastores: those of the configuration, and those that come and go."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.manager.site import WEB, Site, make_site, until

from godwit.core.errors import GodwitError, Invalid, NotFound, Refused
from godwit.core.model import Datastore
from godwit.core.resources import DiskRequest
from godwit.testing.clock import run

NFS = Datastore(name="nfs", path="/mnt/nfs", shared=True)


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return make_site(tmp_path)


def test_an_added_datastore_is_known_to_hosts_and_to_the_next_manager(site: Site) -> None:
    async def story() -> None:
        async with site.manager() as manager:
            view = await manager.inventory.datastores.add(NFS)
            assert (view.hosts, view.disks, set(view.free_bytes)) == (("host-a", "host-b"), 0, {"host-a", "host-b"})
        site.world.destination.added = ()  # as after a restart of its agent
        async with site.manager() as manager:
            await until(lambda: len(manager.inventory.datastores.view("nfs").hosts) == 2)
            await manager.inventory.datastores.remove("nfs")
            assert [each.name for each in manager.inventory.datastores.views()] == ["default"]
            assert site.world.source.added == ()

    run(story())


def test_a_host_that_did_not_answer_is_told_when_it_does(site: Site) -> None:
    async def story() -> None:
        async with site.manager() as manager:
            site.doors["host-b"].is_cut = True
            assert (await manager.inventory.datastores.add(NFS)).hosts == ("host-a",)
        site.doors["host-b"].is_cut = False
        async with site.manager() as manager:
            await until(lambda: manager.inventory.datastores.view("nfs").hosts == ("host-a", "host-b"))

    run(story())


def test_a_datastore_with_disks_is_not_removed(site: Site) -> None:
    async def story() -> None:
        async with site.manager() as manager:
            await manager.inventory.datastores.add(NFS)
            disk = DiskRequest(name="data", size_bytes=1 << 20, datastore="nfs")
            await manager.inventory.create(WEB.model_copy(update={"disks": (disk,)}))
            assert manager.inventory.datastores.view("nfs").disks == 1
            with pytest.raises(Refused, match="datastore nfs holds disks of web-1: delete these VMs first"):
                await manager.inventory.datastores.remove("nfs")
            await manager.inventory.stop("web-1")
            await manager.inventory.delete("web-1")
            await manager.inventory.datastores.remove("nfs")

    run(story())


@pytest.mark.parametrize(
    ("datastore", "kind", "sentence"),
    [
        (NFS.model_copy(update={"name": "default"}), Refused, "there is a datastore 'default' already"),
        (NFS.model_copy(update={"path": "nfs"}), Invalid, "'nfs' is neither the absolute path"),
        (NFS.model_copy(update={"path": "/absent"}), Refused, "no host that answers sees /absent"),
    ],
)
def test_what_cannot_be_added_leaves_nothing(
    site: Site, datastore: Datastore, kind: type[GodwitError], sentence: str
) -> None:
    async def story() -> None:
        async with site.manager() as manager:
            with pytest.raises(kind, match=sentence):
                await manager.inventory.datastores.add(datastore)
            assert [each.name for each in manager.inventory.datastores.views()] == ["default"]
        assert await site.store.datastores() == []

    run(story())


def test_only_what_was_added_can_be_removed(site: Site) -> None:
    async def story() -> None:
        async with site.manager() as manager:
            with pytest.raises(Refused, match="is in the manager's configuration"):
                await manager.inventory.datastores.remove("default")
            with pytest.raises(NotFound, match="there is no datastore 'nfs'"):
                await manager.inventory.datastores.remove("nfs")

    run(story())

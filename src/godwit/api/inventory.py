"""/networks, /datastores, /disks, /images: what VMs are made of."""

from __future__ import annotations

from fastapi import APIRouter

from godwit.api.access import TheManager
from godwit.core.model import Datastore, Image
from godwit.core.resources import DatastoreView, DiskView, NetworkView

router = APIRouter(tags=["inventory"])


@router.get("/networks")
async def list_networks(manager: TheManager) -> list[NetworkView]:
    """All networks."""
    return manager.networks()


@router.get("/datastores")
async def list_datastores(manager: TheManager) -> list[DatastoreView]:
    """All datastores, and what is free there now."""
    await manager.fleet.look()
    return manager.inventory.datastores.views()


@router.post("/datastores", status_code=201)
async def add_datastore(datastore: Datastore, manager: TheManager) -> DatastoreView:
    """VMs can have disks there."""
    return await manager.inventory.datastores.add(datastore)


@router.get("/datastores/{name}")
async def show_datastore(name: str, manager: TheManager) -> DatastoreView:
    """That datastore, and what is free there now."""
    await manager.fleet.look()
    return manager.inventory.datastores.view(name)


@router.delete("/datastores/{name}", status_code=204)
async def remove_datastore(name: str, manager: TheManager) -> None:
    """It is no longer known; its files stay."""
    await manager.inventory.datastores.remove(name)


@router.get("/disks")
async def list_disks(manager: TheManager) -> list[DiskView]:
    """All disks of all VMs."""
    return manager.inventory.disks()


@router.get("/images")
async def list_images(manager: TheManager) -> list[Image]:
    """All images that can be used."""
    return manager.images()

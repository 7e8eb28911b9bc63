"""/networks, /datastores, /disks, /images: what the configuration and the VMs name."""

from __future__ import annotations

from fastapi import APIRouter

from godwit.api.access import TheManager
from godwit.core.model import Image
from godwit.core.resources import DatastoreView, DiskView, NetworkView

router = APIRouter(tags=["inventory"])


@router.get("/networks")
async def list_networks(manager: TheManager) -> list[NetworkView]:
    """All networks."""
    return manager.networks()


@router.get("/datastores")
async def list_datastores(manager: TheManager) -> list[DatastoreView]:
    """All datastores."""
    return manager.datastores()


@router.get("/datastores/{name}")
async def show_datastore(name: str, manager: TheManager) -> DatastoreView:
    """That datastore."""
    return manager.datastore(name)


@router.get("/disks")
async def list_disks(manager: TheManager) -> list[DiskView]:
    """All disks of all VMs."""
    return manager.disks()


@router.get("/images")
async def list_images(manager: TheManager) -> list[Image]:
    """All images that can be used."""
    return manager.images()

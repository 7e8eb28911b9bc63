"""/vms: made, started, stopped, shown, forgotten."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query

from godwit.api.access import TheManager
from godwit.core.checked import Checked, Rehearsal, RehearsalRequest
from godwit.core.resources import VmChange, VmRequest, VmView

router = APIRouter(prefix="/vms", tags=["vms"])


@router.get("")
async def list_vms(manager: TheManager) -> list[VmView]:
    """All VMs."""
    return manager.inventory.views()


@router.post("", status_code=201)
async def create_vm(request: VmRequest, manager: TheManager) -> VmView:
    """A new VM; it runs when this is answered, unless `start` is false."""
    return await manager.inventory.create(request)


@router.get("/{name}")
async def show_vm(name: str, manager: TheManager, destinations: bool = False) -> VmView:
    """That VM; with `destinations` all hosts are asked, and it says where it can go."""
    view = manager.inventory.view(name)
    if not destinations:
        return view
    return view.model_copy(update={"destinations": await manager.checker.destinations(name)})


@router.patch("/{name}")
async def change_vm(name: str, change: VmChange, manager: TheManager) -> VmView:
    """Its owner's rules are these."""
    return await manager.inventory.change(name, change)


@router.get("/{name}/checks/{host}")
async def check_vm(name: str, host: str, manager: TheManager) -> Checked:
    """What stands in the way of moving it there, and what may hurt: both hosts are asked, and nothing is changed."""
    return await manager.checker.check(name, host)


@router.post("/{name}/start")
async def start_vm(name: str, manager: TheManager) -> VmView:
    """It runs."""
    return await manager.inventory.start(name)


@router.post("/{name}/stop")
async def stop_vm(name: str, manager: TheManager, grace_s: Annotated[float, Query(ge=0, le=600)] = 30.0) -> VmView:
    """It is off: by itself within the grace, else by force."""
    return await manager.inventory.stop(name, grace_s=grace_s)


@router.post("/{name}/rehearsals")
async def rehearse_vm(name: str, request: RehearsalRequest, manager: TheManager) -> Rehearsal:
    """What happened to a throw-away VM with its devices and networks, which was really moved; it is not touched."""
    return await manager.rehearse(name, request)


@router.delete("/{name}", status_code=204)
async def delete_vm(name: str, manager: TheManager) -> None:
    """It is forgotten, and its disks are removed."""
    await manager.inventory.delete(name)

"""/hosts: who there is, and who answers."""

from __future__ import annotations

from contextlib import suppress

from fastapi import APIRouter

from godwit.api.access import TheManager
from godwit.core.checked import HostChecked
from godwit.core.draining import Drain
from godwit.core.errors import GodwitError
from godwit.core.leftover import Leftovers
from godwit.core.resources import DrainRequest, HostState

router = APIRouter(prefix="/hosts", tags=["hosts"])


@router.get("")
async def list_hosts(manager: TheManager) -> list[HostState]:
    """All hosts, asked now."""
    await manager.fleet.look()
    return manager.host_states()


@router.get("/{name}/checks")
async def check_host(name: str, manager: TheManager) -> HostChecked:
    """What would trouble any VM that came there: it and the others are asked, and nothing is changed."""
    return await manager.check_host(name)


@router.get("/{name}/leftovers")
async def find_leftovers(name: str, manager: TheManager) -> Leftovers:
    """What lies on that host that no VM and no migration needs."""
    return await manager.examine(name, repair=False)


@router.delete("/{name}/leftovers")
async def remove_leftovers(name: str, manager: TheManager) -> Leftovers:
    """The same; what can be removed safely is gone. A QEMU that may be a VM's last copy never is."""
    return await manager.examine(name, repair=True)


@router.get("/{name}")
async def show_host(name: str, manager: TheManager, arrivals: bool = False) -> HostState:
    """That host, asked now; one that does not answer, or not as it should, is shown as last seen.

    With `arrivals` all hosts are asked, and it says which VMs could come.
    """
    with suppress(GodwitError):
        await manager.fleet.facts(name)
    state = manager.host_state(name)
    return state.model_copy(update={"arrivals": await manager.checker.arrivals(name)}) if arrivals else state


@router.get("/{name}/drain")
async def plan_drain(name: str, manager: TheManager) -> Drain:
    """Where its VMs would go, and which cannot; nothing is changed."""
    return await manager.draining.plan(name)


@router.post("/{name}/drain", status_code=202)
async def drain_host(name: str, request: DrainRequest, manager: TheManager) -> Drain:
    """Nothing new is placed there, and what can go is on its way."""
    return await manager.draining.drain(name, parallel=request.parallel)


@router.post("/{name}/activate")
async def activate_host(name: str, manager: TheManager) -> HostState:
    """It takes VMs again."""
    await manager.draining.activate(name)
    return await show_host(name, manager)

"""/hosts: who there is, and who answers."""

from __future__ import annotations

from contextlib import suppress

from fastapi import APIRouter

from godwit.api.access import TheManager
from godwit.core.errors import GodwitError
from godwit.core.resources import HostState

router = APIRouter(prefix="/hosts", tags=["hosts"])


@router.get("")
async def list_hosts(manager: TheManager) -> list[HostState]:
    """All hosts, asked now."""
    await manager.fleet.look()
    return manager.fleet.states()


@router.get("/{name}")
async def show_host(name: str, manager: TheManager, arrivals: bool = False) -> HostState:
    """That host, asked now; one that does not answer, or not as it should, is shown as last seen.

    With `arrivals` all hosts are asked, and it says which VMs could come.
    """
    with suppress(GodwitError):
        await manager.fleet.facts(name)
    state = manager.fleet.state(name)
    return state.model_copy(update={"arrivals": await manager.checker.arrivals(name)}) if arrivals else state

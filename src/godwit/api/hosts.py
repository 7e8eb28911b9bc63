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
async def show_host(name: str, manager: TheManager) -> HostState:
    """That host, asked now; one that does not answer, or not as it should, is shown as last seen."""
    with suppress(GodwitError):
        await manager.fleet.facts(name)
    return manager.fleet.state(name)

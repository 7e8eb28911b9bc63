"""/migrations: started, shown, followed, cancelled, settled, reported."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Annotated

from fastapi import APIRouter, Depends, Header
from fastapi.sse import EventSourceResponse, ServerSentEvent

from godwit.api.access import TheManager
from godwit.core.migration import Migration, MigrationRequest, SettleRequest
from godwit.core.report import DryRun, Report
from godwit.manager.manager import Manager

router = APIRouter(prefix="/migrations", tags=["migrations"])


@router.get("")
async def list_migrations(manager: TheManager) -> list[Migration]:
    """All migrations, oldest first."""
    return manager.runner.migrations()


@router.post("", status_code=201)
async def start_migration(request: MigrationRequest, manager: TheManager) -> Migration:
    """A new migration, which goes on by itself."""
    return await manager.runner.start(request)


@router.post("/forecast")
async def foresee_migration(request: MigrationRequest, manager: TheManager) -> DryRun:
    """What that migration would take; nothing is touched."""
    return await manager.runner.foresee(request)


@router.get("/{id}")
async def show_migration(id: str, manager: TheManager) -> Migration:
    """That migration."""
    return manager.runner.migration(id)


@router.delete("/{id}", status_code=202)
async def cancel_migration(id: str, manager: TheManager) -> Migration:
    """It is being undone; its events tell when that has ended."""
    return await manager.runner.cancel(id)


@router.post("/{id}/settle", status_code=202)
async def settle_migration(id: str, request: SettleRequest, manager: TheManager) -> Migration:
    """A person says where the VM of a migration in doubt runs, and how that is known; it goes on from there."""
    return await manager.runner.settle(id, request)


@router.get("/{id}/report")
async def report_migration(id: str, manager: TheManager) -> Report:
    """What happened so far."""
    return await manager.runner.report(id)


async def _known(id: str, manager: TheManager) -> Manager:
    """The manager, if it knows that migration: refused before the stream begins."""
    manager.runner.migration(id)
    return manager


@router.get("/{id}/events", response_class=EventSourceResponse)
async def follow_migration(
    id: str, manager: Annotated[Manager, Depends(_known)], last_event_id: Annotated[int, Header(ge=0)] = 0
) -> AsyncIterator[ServerSentEvent]:
    """All events after `Last-Event-ID`, those to come included, until the migration has ended."""
    async for event in manager.feed.follow(id, after=last_event_id):
        yield ServerSentEvent(raw_data=event.model_dump_json(), event=event.kind, id=str(event.sequence))

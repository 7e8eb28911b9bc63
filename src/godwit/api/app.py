"""The REST API: one router per resource over one manager."""

from __future__ import annotations

from collections.abc import Callable
from importlib.metadata import version
from typing import Any

from fastapi import FastAPI
from fastapi.responses import Response
from starlette.types import ASGIApp

from godwit.api import audit, console, hosts, inventory, migrations, openapi, problems, vms
from godwit.api.audit import AuditLog
from godwit.api.callers import Who
from godwit.api.guard import Guard
from godwit.api.once import Once
from godwit.contract.store import Store
from godwit.manager.manager import Manager

MetricsText = Callable[[], tuple[bytes, str]]


def build(manager: Manager, metrics: MetricsText, log: AuditLog | None = None) -> FastAPI:
    """The app that serves this manager to whoever reaches it; `metrics` gives the text of /metrics and its type."""
    app = FastAPI(
        title="godwit", version=version("godwit"), redirect_slashes=False, separate_input_output_schemas=False
    )
    app.state.manager = manager
    app.state.audit = log
    problems.register(app)
    for part in (hosts, inventory, vms, console, migrations, audit):
        app.include_router(part.router)

    @app.get("/metrics", tags=["metrics"], response_class=Response, responses={200: openapi.METRICS})
    async def show_metrics() -> Response:
        """The manager's numbers for Prometheus."""
        text, content_type = metrics()
        return Response(text, media_type=content_type)

    def described() -> dict[str, Any]:
        if app.openapi_schema is None:
            app.openapi_schema = openapi.describe(app)
        return app.openapi_schema

    app.openapi = described  # type: ignore[method-assign]
    return app


def guarded(app: ASGIApp, *, who: Who, store: Store, log: AuditLog) -> Guard:
    """The app for those whom `who` knows, each within their role; every change is logged, and none is made twice."""
    return Guard(Once(app, store), who=who, audit=log)

"""The REST API: one router per resource over one manager."""

from __future__ import annotations

from collections.abc import Callable
from importlib.metadata import version

from fastapi import FastAPI
from fastapi.responses import Response

from godwit.api import console, hosts, inventory, migrations, problems, vms
from godwit.manager.manager import Manager

SUMMARY = "Live migration of QEMU virtual machines"


def build(manager: Manager, metrics: Callable[[], tuple[bytes, str]]) -> FastAPI:
    """The app that serves this manager; `metrics` gives the text of /metrics and its content type."""
    app = FastAPI(title="godwit", version=version("godwit"), summary=SUMMARY, redirect_slashes=False)
    app.state.manager = manager
    problems.register(app)
    for part in (hosts, inventory, vms, console, migrations):
        app.include_router(part.router)

    @app.get("/metrics", tags=["metrics"])
    async def show_metrics() -> Response:
        """For Prometheus."""
        text, content_type = metrics()
        return Response(text, media_type=content_type)

    return app

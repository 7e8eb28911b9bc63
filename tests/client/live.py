"""A manager over hosts in memory that answers on a real socket, in a thread with a real clock."""

from __future__ import annotations

import asyncio
import socket as socket_module
import threading
from collections.abc import Coroutine, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

from fastapi import FastAPI
from tests.manager.site import Site

from godwit.api import serve
from godwit.api.app import build, guarded
from godwit.api.audit import AuditLog
from godwit.api.callers import by_token, by_uid
from godwit.core.config import Listen
from godwit.manager.manager import Manager
from godwit.telemetry.metrics import CONTENT_TYPE, Metrics

T = TypeVar("T")


class Live:
    """The thread's end of it."""

    def __init__(self, site: Site, socket: Path, listen: Listen | None = None) -> None:
        self.listen = listen
        self.port = 0
        self.audit = AuditLog(socket.with_name("audit.jsonl"))
        self.site = site
        self.socket = socket
        self.manager: Manager
        self._loop = asyncio.new_event_loop()
        self._is_up = threading.Event()
        self._stop = asyncio.Event()
        self._servers: list[serve.Server] = []
        self._thread = threading.Thread(target=self._run)

    def start(self) -> None:
        """It answers."""
        self._thread.start()
        assert self._is_up.wait(120)

    def stop(self) -> None:
        """It has ended."""
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(120)
        self._loop.close()

    def do(self, work: Coroutine[Any, Any, T]) -> T:
        """The result of work done in the manager's loop."""
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(120)

    def break_connections(self) -> None:
        """Every client loses its connection; the server goes on."""

        async def close() -> None:
            for server in self._servers:
                for connection in list(server.server_state.connections):
                    connection.transport.abort()

        self.do(close())

    def hold(self, host: str, verb: str) -> None:
        """That verb waits from now on."""
        self.do(_of(self.site.doors[host].hold, verb))

    def let(self, host: str, verb: str) -> None:
        """It waits no longer."""
        self.do(_of(self.site.doors[host].held[verb].set))

    def crash(self, host: str, vm: str) -> None:
        """Its QEMU ends by itself."""
        world = self.site.world
        self.do(_of((world.source if host == world.source.name else world.destination).crash, vm))

    def wait_for(self, host: str, verb: str) -> None:
        """Somebody waits in that verb."""
        self.do(asyncio.wait_for(self.site.doors[host].entered[verb].wait(), 120))

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        self._loop.run_until_complete(self._serve())
        rest = asyncio.all_tasks(
            self._loop
        )  # as asyncio.run does: what was cancelled a moment ago has yet to hear of it
        for task in rest:
            task.cancel()
        self._loop.run_until_complete(asyncio.gather(*rest, return_exceptions=True))

    async def _serve(self) -> None:
        metrics = Metrics()
        async with self.site.manager(metrics.observe) as self.manager:
            app = build(self.manager, lambda: (metrics.text(), CONTENT_TYPE), self.audit)
            doors = list(self._doors(app))
            self._servers = [server for server, _ in doors]
            serving = [asyncio.create_task(server.serve(sockets=[listener])) for server, listener in doors]
            self._is_up.set()
            await self._stop.wait()
        for server in self._servers:
            server.should_exit = True
        await asyncio.gather(*serving)
        for _, listener in doors:
            listener.close()

    def _doors(self, app: FastAPI) -> Iterator[tuple[serve.Server, socket_module.socket]]:
        store, log = self.site.store, self.audit
        yield serve.server(guarded(app, who=by_uid, store=store, log=log)), serve.listen(self.socket)
        if self.listen:
            who = by_token(self.site.config.tokens)
            listener = serve.listen_tcp(self.listen.address)
            self.port = listener.getsockname()[1]
            yield serve.server(guarded(app, who=who, store=store, log=log), serve.tls_context(self.listen)), listener


async def _of(act: Any, *words: Any) -> Any:
    return act(*words)


@contextmanager
def living(site: Site, socket: Path, listen: Listen | None = None) -> Iterator[Live]:
    """It answers as long as this holds."""
    live = Live(site, socket, listen)
    live.start()
    try:
        yield live
    finally:
        live.stop()

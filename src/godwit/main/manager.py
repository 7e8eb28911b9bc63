"""Builds the manager from its real parts and runs it until it is told to stop."""

from __future__ import annotations

import asyncio
import logging
import signal
from contextlib import AsyncExitStack

from godwit.api import serve
from godwit.api.app import build
from godwit.contract.host import Host
from godwit.core.config import ManagerConfig
from godwit.manager.manager import Manager
from godwit.rpc.remote import connect
from godwit.store.sqlite import open_store
from godwit.telemetry.log import log_event
from godwit.telemetry.metrics import CONTENT_TYPE, Metrics

LOG = logging.getLogger("godwit.manager")


async def run(config: ManagerConfig) -> None:
    """The manager answers on its socket until SIGTERM or SIGINT; then what can be undone is, and all is stored."""
    metrics = Metrics()
    async with AsyncExitStack() as stack:
        store = await open_store(config.store)
        stack.push_async_callback(store.close)
        listener = serve.listen(config.socket)
        stack.callback(listener.close)

        def host(name: str, address: str) -> Host:
            connection = connect(Host, address=address, name=name, tls=config.tls)
            stack.push_async_callback(connection.close)
            return connection.verbs

        manager = Manager(config, store=store, connect=host, observers=(log_event, metrics.observe))
        await manager.start()
        server = serve.server(build(manager, lambda: (metrics.text(), CONTENT_TYPE)))
        serving = asyncio.create_task(server.serve(sockets=[listener]))
        LOG.info("the manager answers at %s", config.socket)
        try:
            await _told_to_stop(serving)
        finally:
            await manager.close()  # first, so that those who follow a migration see how it ends
            server.should_exit = True
            await serving


async def _told_to_stop(serving: asyncio.Task[None]) -> None:
    """Returns at a signal; if the server ends by itself, raises why."""
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    waiting = asyncio.create_task(stop.wait())
    await asyncio.wait({waiting, serving}, return_when=asyncio.FIRST_COMPLETED)
    waiting.cancel()

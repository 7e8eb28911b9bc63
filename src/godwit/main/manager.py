"""Builds the manager from its real parts and runs it until it is told to stop."""

from __future__ import annotations

import asyncio
import logging
import signal
import socket
from contextlib import AsyncExitStack

from fastapi import FastAPI

from godwit.api import serve
from godwit.api.app import build, guarded
from godwit.api.audit import AuditLog
from godwit.api.callers import by_token, by_uid
from godwit.contract.host import Host
from godwit.contract.store import Store
from godwit.core.config import ManagerConfig, Tls
from godwit.core.errors import Failed, Refused
from godwit.main.ready import tell_ready
from godwit.manager.manager import Manager
from godwit.rpc.remote import connect
from godwit.rpc.transport import credentials_of_channel
from godwit.store.sqlite import open_store
from godwit.telemetry.log import log_event
from godwit.telemetry.metrics import CONTENT_TYPE, Metrics

LOG = logging.getLogger("godwit.manager")

Doors = list[tuple[serve.Server, socket.socket]]


async def run(config: ManagerConfig) -> None:
    """The manager answers until SIGTERM or SIGINT; then what can be undone is, and all is stored."""
    metrics = Metrics()
    _demand_certificates(config.tls)
    async with AsyncExitStack() as stack:
        store = await open_store(config.store)
        stack.push_async_callback(store.close)

        def host(name: str, address: str) -> Host:
            connection = connect(Host, address=address, name=name, tls=config.tls)
            stack.push_async_callback(connection.close)
            return connection.verbs

        manager = Manager(config, store=store, connect=host, observers=(log_event, metrics.observe))
        log = AuditLog(config.audit_file)
        app = build(manager, lambda: (metrics.text(), CONTENT_TYPE), log)
        doors = _doors(config, app, store, log, stack=stack)
        made = config.socket.stat()
        await manager.start()
        servings = [asyncio.create_task(server.serve(sockets=[listener])) for server, listener in doors]
        LOG.info("the manager answers at %s", " and ".join(_places(config)))
        if not config.hosts:
            LOG.warning("there are no hosts: put [hosts.NAME] with its address into the configuration, and start again")
        try:
            await _told_to_stop(servings)
        finally:
            await manager.close()  # first, so that those who follow a migration see how it ends
            serve.unlink(config.socket, made)
            for server, _ in doors:
                server.should_exit = True
            await asyncio.gather(*servings)


def _demand_certificates(tls: Tls) -> None:
    """They can be used; else nobody would learn of it before there is a host."""
    try:
        credentials_of_channel(tls)
    except Failed as error:
        raise Refused(error.message, "certificate") from error


def _doors(config: ManagerConfig, app: FastAPI, store: Store, log: AuditLog, *, stack: AsyncExitStack) -> Doors:
    """Each place where the API is to answer is ours, or this raises."""
    local = serve.listen(config.socket)
    stack.callback(local.close)
    doors = [(serve.server(guarded(app, who=by_uid, store=store, log=log)), local)]
    if config.listen:
        tls = serve.tls_context(config.listen)
        remote = serve.listen_tcp(config.listen.address)
        stack.callback(remote.close)
        doors.append((serve.server(guarded(app, who=by_token(config.tokens), store=store, log=log), tls), remote))
    return doors


def _places(config: ManagerConfig) -> list[str]:
    return [str(config.socket), *([f"https://{config.listen.address}"] if config.listen else [])]


async def _told_to_stop(servings: list[asyncio.Task[None]]) -> None:
    """Returns at a signal; if a server ends by itself, raises why."""
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    waiting = asyncio.create_task(stop.wait())
    tell_ready()
    await asyncio.wait({waiting, *servings}, return_when=asyncio.FIRST_COMPLETED)
    waiting.cancel()

"""/vms/{name}/console: a VM's serial console as a websocket, bytes both ways."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing
from typing import Any, cast

from fastapi import APIRouter, WebSocket, WebSocketDisconnect

from godwit.api.access import TheManager
from godwit.api.problems import answer
from godwit.contract.host import ConsoleData
from godwit.core.errors import GodwitError, Refused
from godwit.core.model import VmState
from godwit.manager.manager import Manager

router = APIRouter(tags=["vms"])

OFF = frozenset({VmState.stopped, VmState.crashed})

MAX_REASON_BYTES = 123
"""Of a websocket's closing (RFC 6455, 5.5)."""


@router.websocket("/vms/{name}/console")
async def console(socket: WebSocket, name: str, manager: TheManager) -> None:
    """Until either side closes; an error after the start is the reason of the closing, code 1011."""
    try:
        host = manager.fleet.host(_where(name, manager))
    except GodwitError as error:
        await socket.send_denial_response(answer(error))
        return
    await socket.accept()
    try:
        await _carry(socket, cast(Any, host.console(_typed(socket, name))))
    except GodwitError as error:
        await socket.close(1011, error.message.encode()[:MAX_REASON_BYTES].decode(errors="ignore"))


def _where(name: str, manager: Manager) -> str:
    vm = manager.inventory.view(name)
    if vm.state in OFF or vm.host is None:
        raise Refused(f"{name} is {vm.state} and has no console: start it with `godwit vm start {name}`", "no-console")
    return vm.host


async def _typed(socket: WebSocket, name: str) -> AsyncIterator[ConsoleData]:
    """What the person types, as long as they stay."""
    yield ConsoleData(name=name)
    try:
        while True:
            yield ConsoleData(data=await socket.receive_bytes())
    except WebSocketDisconnect:
        return


async def _carry(socket: WebSocket, output: Any) -> None:
    """What the VM prints reaches the person."""
    try:
        async with aclosing(output):
            async for message in output:
                if message.data:
                    await socket.send_bytes(message.data)
        await socket.close()
    except (WebSocketDisconnect, RuntimeError):
        await asyncio.sleep(0)  # the person has left

"""The serial console of a VM, as a stream both ways."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

from godwit.agent.vms import Vms
from godwit.contract.host import ConsoleData
from godwit.core.errors import Failed, Invalid

CHUNK_BYTES = 4096


async def console(vms: Vms, request: AsyncIterator[ConsoleData]) -> AsyncIterator[ConsoleData]:
    """Bytes from the console as they come; bytes of the request go to it. Ends when either side closes."""
    first = await anext(request, None)
    if first is None or first.name is None:
        raise Invalid("the first message of a console names its VM")
    path = vms.get(first.name).machine.run_dir / "console.sock"
    try:
        reader, writer = await asyncio.open_unix_connection(path)
    except OSError as error:
        raise Failed(f"the console of {first.name} does not answer: {error}") from error
    typing = asyncio.create_task(_type(request, writer))
    try:
        while data := await reader.read(CHUNK_BYTES):
            yield ConsoleData(data=data)
    finally:
        typing.cancel()
        writer.close()


async def _type(request: AsyncIterator[ConsoleData], writer: asyncio.StreamWriter) -> None:
    async for message in request:
        writer.write(message.data)
        await writer.drain()

"""Checksums of the disks of a VM that is off, as its guest would read them: of a copy and of what it was made from."""

from __future__ import annotations

import asyncio

from godwit.agent.resting import Resting
from godwit.agent.storage_daemons import StorageDaemons
from godwit.contract.disks import DigestDisks, Digested
from godwit.qemu import mirror, nbd

SOCKET = "disks.sock"


class Digesting:
    """Nothing is written; whatever had the disks open has closed them before."""

    def __init__(self, daemons: StorageDaemons, resting: Resting) -> None:
        self._daemons = daemons
        self._resting = resting
        self._reading: dict[str, tuple[DigestDisks, asyncio.Task[Digested]]] = {}

    async def digest(self, request: DigestDisks) -> Digested:
        """Of each disk; `Refused` while its VM runs here. Asked again, also meanwhile, it is the same: disks are read
        once, for hours, whatever becomes of who asked.
        """
        self._resting.refuse_unless_off(request.vm)
        while (known := self._reading.get(request.vm)) and known[0] != request and not known[1].done():
            known[1].cancel()
            await asyncio.wait({known[1]})
        if known is None or known[0] != request or _has_failed(known[1]):
            reading = asyncio.create_task(self._digest(request), name=f"digest of {request.vm}")
            reading.add_done_callback(_has_failed)  # or Python tells of an error for which nobody waits
            known = self._reading[request.vm] = request, reading
        return await asyncio.shield(known[1])

    async def _digest(self, request: DigestDisks) -> Digested:
        """Cancelled, it goes on in a thread until that sees the end."""
        await self._daemons.end(request.vm)
        disks = tuple(disk.model_copy(update={"read_only": True}) for disk in request.disks)
        try:
            machine = await self._daemons.with_disks(request.vm, disks)
            at = machine.run_dir / SOCKET
            await mirror.serve_here(machine.monitor, disks, at)
            found = {disk.name: await asyncio.to_thread(nbd.digest, at, disk.name) for disk in disks}
        finally:
            await self._daemons.end(request.vm)
        return Digested(disks=found)


def _has_failed(reading: asyncio.Task[Digested]) -> bool:
    return reading.done() and (reading.cancelled() or reading.exception() is not None)

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

    async def digest(self, request: DigestDisks) -> Digested:
        """Of each disk; `Refused` while its VM runs here. Cancelled, it goes on in a thread until that sees the end."""
        self._resting.refuse_unless_off(request.vm)
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

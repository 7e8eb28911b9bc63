"""The storage daemons of VMs that are off and have disks on their way: at most one for each VM."""

from __future__ import annotations

from pathlib import Path

from godwit.core.config import AgentConfig
from godwit.core.errors import Failed, NotFound, Unreachable
from godwit.core.model import Disk
from godwit.qemu import storage_daemon
from godwit.qemu.blocks import node_of, open_disk
from godwit.qemu.machine import Machine
from godwit.qemu.monitor import Monitor


class StorageDaemons:
    """They outlive the agent, which finds them again when it needs them."""

    def __init__(self, config: AgentConfig) -> None:
        self._config = config
        self._known: dict[str, Machine] = {}

    async def find(self, vm: str) -> Machine | None:
        """That VM's, if it has one that lives."""
        machine = self._known.get(vm)
        if machine is None or machine.monitor.closed.done():
            try:
                machine = self._known[vm] = await Machine.adopt(self._place(vm))
            except NotFound:
                self._known.pop(vm, None)
                return None
        return machine if (await machine.history()).is_alive else None

    async def has_died(self, vm: str) -> bool:
        """That VM had one, which nobody has ended."""
        machine = self._known.get(vm)
        return machine is not None and not (await machine.history()).is_alive

    async def with_disks(self, vm: str, disks: tuple[Disk, ...]) -> Machine:
        """That VM's has these disks open; `Failed` if one cannot be opened. Asked again, it is the same."""
        machine = await self.find(vm)
        if machine is None:
            await self.end(vm)  # what a dead one left
            machine = self._known[vm] = await storage_daemon.start(
                self._place(vm), qemu=self._config.qemu, env=self._config.qemu_env
            )
        for index, disk in enumerate(disks):
            if not await _has(machine.monitor, disk):
                await open_disk(machine.monitor, f"disk{index}", disk)
        return machine

    async def end(self, vm: str) -> None:
        """It is gone, and all that was written is on the disks; without one nothing happens."""
        machine = await self.find(vm)
        if machine:
            await machine.retire()
        self._known.pop(vm, None)
        await Machine.clear(self._place(vm))

    async def close(self) -> None:
        """We no longer look at them; they go on."""
        for machine in self._known.values():
            await machine.close()

    def _place(self, vm: str) -> Path:
        return self._config.run_dir / "disks" / vm


async def _has(monitor: Monitor, disk: Disk) -> bool:
    try:
        await node_of(monitor, disk)
    except Unreachable:
        raise
    except Failed:
        return False
    return True

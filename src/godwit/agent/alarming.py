"""A VM that may not go on, because somebody else holds a disk of it: a person must look, nothing is forced."""

from __future__ import annotations

import asyncio
import logging
from pathlib import Path

from godwit.agent.local import LocalVm
from godwit.storage.holders import blame

log = logging.getLogger("godwit.agent")


async def raise_alarm(vm: LocalVm, refusal: str) -> None:
    """Log and statements say what QEMU said, and who has each disk."""
    ours = {vm.machine.qemu_pid, vm.machine.keeper_pid}
    disks = [Path(disk.path) for disk in vm.passport.spec.disks if not disk.read_only]
    held = [await asyncio.to_thread(blame, disk, but=ours) for disk in disks]
    vm.alarm = f"{vm.name} may not go on: {'; '.join([refusal, *held])}"
    log.critical("%s", vm.alarm)

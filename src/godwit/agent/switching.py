"""Between the vCPUs' stop and the last of the memory: the copies of disks are made complete."""

from __future__ import annotations

import logging

from godwit.agent.local import LocalVm
from godwit.core.errors import Failed, Unreachable
from godwit.qemu import memory, mirror

log = logging.getLogger("godwit.agent")

COMPLETE_S = 3.0
"""With writes that waited for both there is next to nothing left."""


async def complete_disks(vm: LocalVm) -> str | None:
    """The stream goes on with complete copies; otherwise it is broken off, and this is why: the VM will run on here.

    Cancelling it would be as good here, but nowhere else: a stream is always ended in the same way.
    """
    monitor, why = vm.machine.monitor, None
    try:
        copies = await mirror.finish(monitor, timeout_s=COMPLETE_S)
        why = "; ".join(f"disk {each.disk}: {each.error}" for each in copies if each.error) or None
    except Unreachable:
        raise
    except Failed as error:
        why = error.message
    if why:
        log.warning("the copies of the disks of %s are not complete: %s", vm.name, why)
        await memory.break_off(monitor)
    await memory.go_on(monitor)
    return why

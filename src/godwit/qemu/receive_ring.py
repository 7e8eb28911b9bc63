"""Where a guest's network card puts the frames that it delivers, and where QEMU has the guest's memory."""

from __future__ import annotations

import re
from dataclasses import dataclass

from godwit.core.errors import Failed
from godwit.qemu.monitor import Monitor

_LOW, _HIGH = 1 << 20, 1 << 32
"""Addresses in the guest at which there is always memory, and only in a large one."""
_ADDRESS = re.compile(r" is (0x[0-9a-f]+)")


@dataclass(frozen=True)
class ReceiveRing:
    """The receive queue of one virtio-net card (virtio 1.2, 2.7: a split virtqueue)."""

    size: int
    descriptors_at: int
    used_at: int
    """Addresses in the guest."""
    low_at: int
    """Where QEMU has the guest's address 0."""
    high_at: int | None
    """... and its address 0 if it is one beyond 4 GiB; none: there is nothing there."""


async def receive_ring(monitor: Monitor, card: str) -> ReceiveRing | None:
    """Of the card with that id; none where QEMU cannot tell (before 7.2), or the guest does not use the card."""
    try:
        path = f"/machine/peripheral/{card}/virtio-backend"
        told = await monitor.execute("x-query-virtio-queue-status", path=path, queue=0)
        low, high = [await _process_address(monitor, at) for at in (_LOW, _HIGH)]
    except Failed:
        return None
    if not told["vring-desc"] or low is None:
        return None
    return ReceiveRing(told["vring-num"], told["vring-desc"], told["vring-used"], low, high)


async def _process_address(monitor: Monitor, address: int) -> int | None:
    """Where in QEMU's own memory the guest's address 0 is, or would be."""
    said = await monitor.execute("human-monitor-command", {"command-line": f"gpa2hva {address:#x}"})
    found = _ADDRESS.search(said)
    return int(found[1], 16) - address if found else None

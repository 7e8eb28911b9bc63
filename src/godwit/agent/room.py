"""Memory for guests: promised once, never twice."""

from __future__ import annotations

from collections.abc import Mapping

from godwit.core.errors import Refused


class Room:
    """Counts what a host has promised to VMs that run, and to VMs that are about to come."""

    def __init__(self, host: str, capacity_mib: int) -> None:
        self._host = host
        self.capacity_mib = capacity_mib
        self._promised: dict[str, int] = {}

    def free_mib(self, running: Mapping[str, int]) -> int:
        """What nobody has been promised, given the memory of the VMs that are here; one that came holds its promise."""
        coming = {name: mib for name, mib in self._promised.items() if name not in running}
        return self.capacity_mib - sum(running.values()) - sum(coming.values())

    def promise(self, vm: str, memory_mib: int, running: Mapping[str, int]) -> None:
        """That much is kept for the VM; `Refused`, with numbers, if it is not there."""
        others = {name: mib for name, mib in self._promised.items() if name != vm}
        free = self.free_mib(running) + (self._promised.get(vm, 0) if vm not in running else running[vm])
        if memory_mib > free:
            raise Refused(
                f"{self._host} has {free} MiB of {self.capacity_mib} MiB for guests free, {vm} needs {memory_mib} MiB: "
                f"stop or move a VM there, or choose another host",
                "memory",
            )
        self._promised = others | {vm: memory_mib}

    def forget(self, vm: str) -> None:
        """Nothing is kept for the VM any more."""
        self._promised.pop(vm, None)

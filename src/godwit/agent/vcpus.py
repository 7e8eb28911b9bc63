"""How much of its vCPUs' time a guest uses: told by the kernel, whatever QEMU and accelerator there are."""

from __future__ import annotations

from collections.abc import Sequence
from time import monotonic

from godwit.host.process import thread_cpu_s
from godwit.qemu.machine import Machine

LEAST_S = 0.05
"""What a shorter look shows is chance."""


class Vcpus:
    """From one look to the next."""

    def __init__(self, machine: Machine) -> None:
        self._machine = machine
        self._threads: Sequence[int] = ()
        self._looked_at_s = 0.0
        self._used_s = 0.0

    async def begin(self) -> None:
        """The first look."""
        cpus = await self._machine.monitor.execute("query-cpus-fast")
        self._threads = [each["thread-id"] for each in cpus]
        self._looked_at_s, self._used_s = monotonic(), self._cpu_s()

    def share(self) -> float | None:
        """The part of their time since the last look that they ran, 0 to 1; none: too short a time, or not begun."""
        now, used_s = monotonic(), self._cpu_s()
        seconds = now - self._looked_at_s
        if not self._threads or seconds < LEAST_S:
            return None
        share = (used_s - self._used_s) / seconds / len(self._threads)
        self._looked_at_s, self._used_s = now, used_s
        return round(min(max(share, 0.0), 1.0), 3)

    def _cpu_s(self) -> float:
        return sum(thread_cpu_s(self._machine.qemu_pid, each) for each in self._threads)

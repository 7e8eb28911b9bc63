"""How much of its vCPUs' time a guest uses, or would if nobody else had the CPUs: told by the kernel for any QEMU."""

from __future__ import annotations

from collections.abc import Sequence
from time import monotonic

from godwit.agent.local import LocalVm
from godwit.host.process import thread_wanted_s

LEAST_S = 0.05
"""What a shorter look shows is chance."""


class Vcpus:
    """From one look to the next; of the QEMU that the VM has then, whose keeper may be another by now."""

    def __init__(self, vm: LocalVm) -> None:
        self._vm = vm
        self._threads: Sequence[int] = ()
        self._qemu_pid = 0
        self._looked_at_s = 0.0
        self._wanted_s = 0.0

    async def begin(self) -> None:
        """The first look."""
        cpus = await self._vm.machine.monitor.execute("query-cpus-fast")
        self._threads = [each["thread-id"] for each in cpus]
        self._qemu_pid = self._vm.machine.qemu_pid
        self._looked_at_s, self._wanted_s = monotonic(), self.wanted_s()

    @property
    def count(self) -> int:
        """How many there are."""
        return len(self._threads)

    def is_of(self, vm: LocalVm) -> bool:
        """It is that VM in the same QEMU."""
        return self._vm is vm and self._qemu_pid == vm.machine.qemu_pid

    def share(self) -> float | None:
        """The part of the time since the last look in which they had work, 0 to 1; none: too short, or not begun."""
        now, wanted_s = monotonic(), self.wanted_s()
        seconds = now - self._looked_at_s
        if not self._threads or seconds < LEAST_S:
            return None
        share = (wanted_s - self._wanted_s) / seconds / len(self._threads)
        self._looked_at_s, self._wanted_s = now, wanted_s
        return round(min(max(share, 0.0), 1.0), 3)

    def wanted_s(self) -> float:
        """How long they had work since their QEMU began, all together."""
        return sum(thread_wanted_s(self._vm.machine.qemu_pid, each) for each in self._threads)

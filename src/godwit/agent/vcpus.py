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

    def is_of(self, vm: LocalVm) -> bool:
        """It is that VM in the same QEMU."""
        return self._vm is vm and self._qemu_pid == vm.machine.qemu_pid

    def share(self) -> float | None:
        """The part of the time since the last look in which they had work, 0 to 1; none: too short, or not begun."""
        share = self.share_since(self._looked_at_s, self._wanted_s)
        if share is not None:
            self._looked_at_s, self._wanted_s = monotonic(), self.wanted_s()
        return share

    def share_since(self, at_s: float, wanted_s: float) -> float | None:
        """As `share`, since a moment (on the monotonic clock) at which they had had work for so long."""
        seconds = monotonic() - at_s
        if not self._threads or seconds < LEAST_S:
            return None
        share = (self.wanted_s() - wanted_s) / seconds / len(self._threads)
        return round(min(max(share, 0.0), 1.0), 3)

    def wanted_s(self) -> float:
        """How long they had work since their QEMU began, all together."""
        return sum(thread_wanted_s(self._vm.machine.qemu_pid, each) for each in self._threads)

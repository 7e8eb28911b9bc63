"""How busy the host and its guests have been just now: looked at all the time, so that no move has to wait for it."""

from __future__ import annotations

import asyncio
from collections import deque
from time import monotonic
from typing import NamedTuple

from godwit.agent.local import LocalVm
from godwit.agent.vcpus import Vcpus
from godwit.agent.vms import Vms
from godwit.core.errors import GodwitError
from godwit.host import facts

LOOK_S = 0.25
"""Between two looks, each of some microseconds for a vCPU."""
LOOKS = 2
"""Kept: what is told is of the last quarter to half of a second. Less is chance, more is what the guest did before."""


class _Look(NamedTuple):
    """At one moment."""

    at_s: float
    cpu_times: tuple[float, float]
    wanted_s: dict[Vcpus, float]
    """Of each VM's, since its QEMU began."""


class Usage:
    """Of the VMs that run here, and of the CPUs."""

    def __init__(self, vms: Vms) -> None:
        self._vms = vms
        self._vcpus: dict[str, Vcpus] = {}
        self._looks: deque[_Look] = deque(maxlen=LOOKS)
        self._looking: asyncio.Task[None] | None = None

    def start(self) -> None:
        """From now on it is looked at."""
        self._looking = asyncio.create_task(self._look_on(), name="usage")

    async def close(self) -> None:
        """Nobody looks any more."""
        if self._looking:
            self._looking.cancel()
            await asyncio.gather(self._looking, return_exceptions=True)

    def vcpu_share(self, vm: LocalVm) -> float | None:
        """The part of the last moments in which its vCPUs had work, 0 to 1; none: it is here for too short a time."""
        vcpus = self._vcpus.get(vm.name)
        then = next((each for each in self._looks if vcpus in each.wanted_s), None)
        return vcpus.share_since(then.at_s, then.wanted_s[vcpus]) if vcpus and then else None

    def idle_cpus(self) -> float:
        """How many CPUs had nothing to do; 0 until that is known."""
        return facts.idle_cpus(self._looks[0].cpu_times, facts.cpu_times()) if self._looks else 0.0

    async def _look_on(self) -> None:
        while True:
            await self._look()
            await asyncio.sleep(LOOK_S)

    async def _look(self) -> None:
        here = {vm.name: vm for vm in self._vms.all() if vm.owner.is_owner and vm.is_alive}
        known = {name: each for name, each in self._vcpus.items() if name in here and each.is_of(here[name])}
        for name in here.keys() - known.keys():
            vcpus = Vcpus(here[name])
            try:
                async with asyncio.timeout(LOOK_S):  # the others' looks do not wait for one that hangs
                    await vcpus.begin()
            except (GodwitError, TimeoutError):  # it is asked again at the next look
                continue
            known[name] = vcpus
        self._vcpus = known
        wanted_s = {each: each.wanted_s() for each in known.values()}
        self._looks.append(_Look(monotonic(), facts.cpu_times(), wanted_s))

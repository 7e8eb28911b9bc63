"""Where the VMs of a host go that is to be emptied: the plan that is shown first, and what became of it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from godwit.core.model import HostFacts, Name, Value, VmState


class Leaving(Value):
    """One VM of a host that is drained: where it goes, or why it stays."""

    vm: Name
    state: VmState
    memory_mib: int
    destination: Name | None = None
    migration: str | None = None
    """That moves it there, once it was started, now or before."""
    why: str | None = None
    """Why it stays."""

    @property
    def can_go(self) -> bool:
        """There is a host for it."""
        return self.destination is not None


class Drain(Value):
    """`GET /hosts/{name}/drain`: what draining would do; `POST` there: what it began."""

    host: Name
    draining: bool = False
    """Nothing new is placed there, until `activate`."""
    vms: tuple[Leaving, ...] = ()


Why = Callable[[str, HostFacts], str | None]
"""(VM, host) -> why it cannot go there, or None."""


def allot(leaving: Iterable[Leaving], hosts: Sequence[HostFacts], why: Why) -> tuple[Leaving, ...]:
    """Each running VM has a host to go to, the largest VM first and always where most memory is left, or a reason.

    `why` is asked with what is free after those that were allotted before. One that is on its way already goes on.
    """
    free = {each.host: each.memory_free_mib for each in hosts}
    allotted: dict[str, Leaving] = {}
    found = list(leaving)
    for vm in sorted(found, key=lambda each: -each.memory_mib):
        seen = [each.model_copy(update={"memory_free_mib": free[each.host]}) for each in hosts]
        allotted[vm.vm] = placed = _placed(vm, seen, why)
        if placed.destination and not vm.migration:  # one that is on its way is counted already
            free[placed.destination] -= vm.memory_mib
    return tuple(allotted[vm.vm] for vm in found)


def _placed(vm: Leaving, hosts: Sequence[HostFacts], why: Why) -> Leaving:
    if vm.migration:
        return vm
    if vm.state is not VmState.running:
        return vm.model_copy(update={"why": f"it is {vm.state}: only a running VM is moved"})
    reasons: list[str] = []
    for host in sorted(hosts, key=lambda each: (-each.memory_free_mib, each.host)):
        reason = why(vm.vm, host)
        if reason is None:
            return vm.model_copy(update={"destination": host.host})
        reasons.append(reason)
    return vm.model_copy(update={"why": reasons[0] if reasons else "no other host is there to take it"})

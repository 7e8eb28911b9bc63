"""Where a VM starts, and what it is bound to for life: pure choices over the facts of the hosts."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from godwit.core.errors import Refused
from godwit.core.model import HostFacts, Pinned

CPU_MODELS_BEST_FIRST = (
    *("SapphireRapids", "Icelake-Server", "Cascadelake-Server", "Skylake-Server", "Broadwell", "Haswell"),
    *("EPYC-Genoa", "EPYC-Milan", "EPYC-Rome", "EPYC"),
    *("IvyBridge", "SandyBridge", "Westmere", "Nehalem", "Penryn", "Conroe", "qemu64"),
)
"""Families in the order in which we take them; within one, the highest version. The last runs anywhere."""


def pin(hosts: Sequence[HostFacts], *, first: str) -> Pinned:
    """The newest machine type and best CPU model that all hosts with the accelerator of host `first` have.

    A VM may go wherever all that it is pinned to exists, so the choice is made over the hosts that could ever
    receive it, not for the one that starts it.
    """
    accelerator = next(each for each in hosts if each.host == first).qemu.accelerator
    peers = [each.qemu for each in hosts if each.qemu.accelerator == accelerator]
    machines = _common(peer.machines for peer in peers)
    models = _common(peer.cpu_models for peer in peers)
    if not machines or not models:
        what = "machine type" if not machines else "CPU model"
        raise Refused(f"no {what} is common to all hosts: see `godwit host show`, and remove the odd one", "no-common")
    return Pinned(machine=machines[0], cpu_model=_best(models), accelerator=accelerator)


def choose_host(memory_mib: int, networks: Iterable[str], hosts: Sequence[HostFacts], *, exclude: str = "") -> str:
    """The host with the most free memory that has the networks; `Refused` says what each one lacks."""
    wanted = set(networks)
    able = [h for h in hosts if h.host != exclude and wanted <= set(h.networks) and h.memory_free_mib >= memory_mib]
    if able:
        return max(able, key=lambda h: (h.memory_free_mib, h.host)).host
    seen = [h for h in hosts if h.host != exclude]
    lacks = ", ".join(f"{h.host} has {h.memory_free_mib} MiB free" for h in seen) or "no other host answers"
    nets = f" and network {', '.join(sorted(wanted))}" if wanted else ""
    raise Refused(f"no host has {memory_mib} MiB free{nets}: {lacks}", "no-host")


def _common(lists: Iterable[Sequence[str]]) -> list[str]:
    """What all lists hold, in the first one's order."""
    first, *others = lists
    return [each for each in first if all(each in other for other in others)]


def _best(models: Sequence[str]) -> str:
    def rank(model: str) -> tuple[int, int]:
        family, _, version = model.rpartition("-v")
        known = family in CPU_MODELS_BEST_FIRST
        place = CPU_MODELS_BEST_FIRST.index(family) if known else len(CPU_MODELS_BEST_FIRST)
        return place, -int(version) if version.isdigit() else 0

    return min(models, key=rank)

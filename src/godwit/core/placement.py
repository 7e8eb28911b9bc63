"""Where a VM starts, and what it is bound to for life: pure choices over the facts of the hosts."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence

from godwit.core.errors import Refused
from godwit.core.model import DatastoreFacts, HostFacts, Name, Pinned, Value, VmSpec

CPU_MODELS_BEST_FIRST = (
    *("SapphireRapids", "Icelake-Server", "Cascadelake-Server", "Skylake-Server", "Broadwell", "Haswell"),
    *("EPYC-Genoa", "EPYC-Milan", "EPYC-Rome", "EPYC"),
    *("IvyBridge", "SandyBridge", "Westmere", "Nehalem", "Penryn", "Conroe", "qemu64"),
)
"""Families in the order in which we take them; within one, the highest version. The last runs anywhere."""


class Needs(Value):
    """What a host must have for a VM to run there."""

    memory_mib: int
    cpus: int = 1
    networks: tuple[Name, ...] = ()
    datastores: tuple[Name, ...] = ()
    uefi: bool = False

    @classmethod
    def of(cls, spec: VmSpec) -> Needs:
        """Those of a VM that there is."""
        return cls(
            memory_mib=spec.memory_mib,
            cpus=spec.cpus,
            networks=tuple(nic.network for nic in spec.nics),
            datastores=tuple(volume.datastore for volume in spec.volumes),
            uefi=spec.firmware is not None,
        )

    def lack_of(self, host: HostFacts) -> str | None:
        """The first thing that this host does not have, in words, memory last."""
        seen = {each.name for each in host.datastores}
        for network in sorted({*self.networks} - {*host.networks}):
            return f"{host.host} has no network {network!r}"
        for datastore in sorted({*self.datastores} - seen):
            return f"{host.host} does not see datastore {datastore!r}"
        if self.uefi and host.uefi is None:
            return f"{host.host} has no UEFI firmware (package ovmf)"
        if host.qemu.most_cpus is not None and self.cpus > host.qemu.most_cpus:
            return f"QEMU of {host.host} gives no VM more than {host.qemu.most_cpus} CPUs"
        if self.memory_mib > host.memory_free_mib:
            return f"{host.host} has {host.memory_free_mib} MiB free"
        return None


def pin(hosts: Sequence[HostFacts], *, first: str, cpu_model: str | None = None) -> Pinned:
    """The newest machine type and best CPU model that all hosts with the accelerator of host `first` have.

    With `cpu_model` it is that one, or the highest version of that family; `Refused` names the hosts without it.

    A VM may go wherever all that it is pinned to exists, so the choice is made over the hosts that could ever
    receive it, not for the one that starts it.
    """
    accelerator = next(each for each in hosts if each.host == first).qemu.accelerator
    able = [each for each in hosts if each.qemu.accelerator == accelerator]
    peers = [each.qemu for each in able]
    machines = _common(peer.machines for peer in peers)
    models = _common(peer.cpu_models for peer in peers)
    if cpu_model:
        models = [each for each in models if cpu_model in {each, each.rpartition("-v")[0]}]
        _refuse_unless_all_have(cpu_model, able, found=bool(models))
    if not machines or not models:
        what = "machine type" if not machines else "CPU model"
        raise Refused(f"no {what} is common to all hosts: see `godwit host show`, and remove the odd one", "no-common")
    return Pinned(machine=machines[0], cpu_model=_best(models), accelerator=accelerator)


def choose_host(needs: Needs, hosts: Sequence[HostFacts], *, exclude: str = "") -> str:
    """The host with the most free memory that has all that is needed; `Refused` says what each one lacks."""
    others = [each for each in hosts if each.host != exclude]
    if able := [each for each in others if needs.lack_of(each) is None]:
        return max(able, key=lambda each: (each.memory_free_mib, each.host)).host
    lacks = ", ".join(lack for each in others if (lack := needs.lack_of(each))) or "no other host answers"
    what = f"{needs.memory_mib} MiB" + (f" and {needs.cpus} CPUs" if needs.cpus > 1 else "")
    raise Refused(f"no host can run a VM that needs {what}: {lacks}; ask for less, or add a host", "no-host")


def free_unit(there: DatastoreFacts, size_bytes: int, taken: Collection[str]) -> str:
    """The smallest unit of that target which holds so much and is nobody's, by its URL; empty if there is none."""
    able = sorted((each for each in there.luns if each.size_bytes >= size_bytes), key=lambda each: each.size_bytes)
    return next((url for url in (f"{there.path}/{each.number}" for each in able) if url not in taken), "")


def _refuse_unless_all_have(cpu_model: str, hosts: Sequence[HostFacts], *, found: bool) -> None:
    def has(host: HostFacts) -> bool:
        return any(cpu_model in {each, each.rpartition("-v")[0]} for each in host.qemu.cpu_models)

    if not found:
        without = ", ".join(each.host for each in hosts if not has(each)) or "no version of it is common to all hosts"
        raise Refused(f"CPU model {cpu_model} cannot run on {without}: leave it out, or name another", "cpu-model")


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

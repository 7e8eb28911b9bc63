"""Rules over what two hosts tell of themselves."""

from __future__ import annotations

from godwit.core.case import Case, Found, Rule
from godwit.core.finding import blocker, warning
from godwit.core.model import VmState

BUSY = 2.0
"""Processes that want a CPU, for each CPU."""
APART_MS = 2000.0
"""Both hosts are asked at one moment, and answer within this."""


def vm_is_at_source(case: Case) -> Found:
    """It runs there, and that host may run it."""
    source = case.source
    status = next((vm for vm in source.vms if vm.name == case.vm), None)
    if status and status.owned and status.state in {VmState.running, VmState.migrating}:
        return
    yield blocker(
        "vm-not-running",
        f"{case.vm} does not run on {source.host}",
        f"it is {status.state}" if status else "no QEMU of it is there",
        f"start it, move it switched off (--cold), or see `godwit vm show {case.vm}`",
    )


def vm_is_not_at_destination(case: Case) -> Found:
    """No copy of it is there."""
    destination = case.destination
    for each in destination.vms:
        if each.name == case.vm:
            yield blocker(
                "vm-at-destination",
                f"{destination.host} holds a QEMU of {case.vm} already",
                f"it is {each.state}",
                f"see `godwit host show {destination.host}`",
            )


def networks_are_there(case: Case) -> Found:
    """By name; whether they are really the same is for the frames to tell."""
    destination = case.destination
    for name in sorted({nic.network for nic in case.move.spec.nics} - set(destination.networks)):
        yield blocker(
            "network-missing",
            f"{destination.host} has no network {name!r}, which {case.vm} is attached to",
            f"it has {', '.join(destination.networks) or 'none'}",
            f"add [networks.{name}] to its agent's configuration, or choose another host",
        )


def vm_is_off(case: Case) -> Found:
    """Nobody runs it, or it may be shut down."""
    if case.move.restarts:
        return
    for host in (case.source, case.destination):
        for each in host.vms:
            if each.name == case.vm and each.state not in {VmState.stopped, VmState.crashed}:
                yield blocker(
                    "vm-running",
                    f"{case.vm} is not off",
                    f"it is {each.state} on {host.host}",
                    "stop it first, or let it be shut down and started again with --yes",
                )


def uefi_is_the_same(case: Case) -> Found:
    """A VM with UEFI finds equal firmware."""
    if case.move.spec.firmware is None:
        return
    source, destination = case.source, case.destination
    if destination.uefi is None:
        yield blocker(
            "uefi",
            f"{destination.host} has no UEFI firmware",
            f"{case.vm} boots from it",
            "install the package ovmf there, or choose another host",
        )
    elif source.uefi is None or source.uefi.code_bytes != destination.uefi.code_bytes:
        yield blocker(
            "uefi",
            f"the UEFI firmware of {destination.host} is another than {source.host}'s",
            f"{source.uefi.code_bytes if source.uefi else 0} and {destination.uefi.code_bytes} bytes",
            "install the same on both, or choose another host",
        )


def machine_is_there(case: Case) -> Found:
    """What the VM is pinned to exists in the destination's QEMU, which was asked itself."""
    pinned, qemu, host = case.move.pinned, case.destination.qemu, case.destination.host
    if pinned.accelerator != qemu.accelerator:
        what = f"{case.vm} runs with {pinned.accelerator}, {host} with {qemu.accelerator}"
        evidence = "asked from QEMU itself"
    elif pinned.machine not in qemu.machines:
        what = f"{case.vm} needs machine type {pinned.machine}, which {host} does not have"
        evidence = f"QEMU {qemu.version} there has {qemu.machines[0] if qemu.machines else 'none'} and older ones"
    elif pinned.cpu_model not in qemu.cpu_models:
        what = f"{case.vm} needs CPU model {pinned.cpu_model}, whose features {host} does not have"
        lacks = qemu.cpu_lacks.get(pinned.cpu_model, ())
        evidence = f"QEMU {qemu.version} there says that {', '.join(lacks) or 'the model itself'} is missing"
    else:
        return
    yield blocker("machine-incompatible", what, evidence, "choose another host, or move it switched off (--cold)")


def memory_is_free(case: Case) -> Found:
    """There is room for all of the VM's memory."""
    destination, needed_mib = case.destination, case.move.spec.memory_mib
    if needed_mib > destination.memory_free_mib:
        yield blocker(
            "memory",
            f"{destination.host} has too little memory for {case.vm}",
            f"{destination.memory_free_mib} MiB of {destination.memory_mib} MiB free, {case.vm} needs {needed_mib} MiB",
            "free some, or choose another host",
        )


def qemu_is_not_older(case: Case) -> Found:
    """QEMU promises that a newer one takes what an older one sends, not the other way."""
    source, destination = case.source, case.destination
    if _version(destination.qemu.version) < _version(source.qemu.version):
        yield warning(
            "qemu-older",
            f"{destination.host} has an older QEMU than {source.host}",
            f"{destination.qemu.version} and {source.qemu.version}; QEMU promises moves to newer ones only",
            "install the newer one there too",
        )


def _version(text: str) -> tuple[int, ...]:
    return tuple(int(part) for part in text.split(".")[:2] if part.isdigit())


def post_copy_is_safe(case: Case) -> Found:
    """A VM whose memory is spread over two hosts must outlive the link's loss; QEMU before 10.2 may lose it."""
    if not case.move.request.post_copy:
        return
    hosts = (case.source, case.destination)
    versions = " and ".join(f"{each.host} has QEMU {each.qemu.version}" for each in hosts)
    yield blocker(
        "post-copy",
        f"{case.vm} cannot be moved by post-copy between {case.source.host} and {case.destination.host}",
        f"{versions}; before 10.2 a lost link can lose the VM, and this godwit does not use it on newer ones either",
        "leave out --post-copy: a guest that dirties too fast is slowed down instead",
    )


def load_is_bearable(case: Case) -> Found:
    """The VM finds CPUs there."""
    destination = case.destination
    if destination.load > BUSY:
        yield warning(
            "host-overloaded",
            f"{destination.host} has more work than CPUs",
            f"{destination.load:.1f} processes want each of its {destination.cpus} CPUs, over the last minute",
            "choose another host, or expect a longer blackout and a slower VM",
        )


def clocks_agree(case: Case) -> Found:
    """Roughly: certificates, logs and the guest's clock hang on it."""
    here, there = case.source.unix_ms, case.destination.unix_ms
    if here is not None and there is not None and abs(there - here) > APART_MS:
        yield warning(
            "clocks-apart",
            f"the clocks of {case.source.host} and {case.destination.host} differ",
            f"by {abs(there - here) / 1000:.0f} s",
            "let chrony or systemd-timesyncd set both",
        )


RULES: tuple[Rule, ...] = (
    vm_is_at_source,
    vm_is_off,
    vm_is_not_at_destination,
    networks_are_there,
    uefi_is_the_same,
    machine_is_there,
    memory_is_free,
    qemu_is_not_older,
    post_copy_is_safe,
    load_is_bearable,
    clocks_agree,
)
"""Worst first."""

"""What this host's QEMU can do, asked from QEMU itself, and whether KVM really runs a guest here."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import json
import os
import re
import socket
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, TextIO

from godwit.core.errors import Failed, Unreachable
from godwit.core.model import Accelerator, QemuFacts
from godwit.host import process
from godwit.host.facts import boot_id
from godwit.qemu.memory import compressions
from godwit.qemu.monitor import Monitor

OLDEST = (7, 2)

_MACHINE = re.compile(r"pc-q35-(\d+)\.(\d+)(?:\.(\d+))?")
_CPU_MODEL = re.compile(r".+-v\d+")
_PROBE_S = 30.0
_KVM_BOOT_S = 15.0
_APIC_CPUS = 255
_BOOTED = "Unable to mount root fs"


async def qemu_facts(
    binary: str, *, env: Mapping[str, str], firmware_dir: Path | None, accelerator: Accelerator
) -> QemuFacts:
    """What QEMU says of itself under that accelerator; `Failed` when it is absent, too old, or does not start."""
    await _check_version(binary, env)
    words = [
        binary,
        *(["-L", str(firmware_dir)] if firmware_dir else []),
        *("-nodefaults", "-no-user-config", "-display", "none", "-S"),
        *("-machine", "q35", "-accel", accelerator.value),
    ]
    version, machines, models, capabilities, schema = await _ask(
        words,
        env,
        (
            *("query-version", "query-machines", "query-cpu-definitions", "query-migrate-capabilities"),
            "query-qmp-schema",
        ),
    )
    number = version["qemu"]
    return QemuFacts(
        version=f"{number['major']}.{number['minor']}.{number['micro']}",
        machines=_machines(machines),
        cpu_models=_cpu_models(models),
        accelerator=accelerator,
        cpu_lacks=_cpu_lacks(models),
        multifd=any(each["capability"] == "multifd" for each in capabilities),
        compressions=compressions(schema),
        most_cpus=_most_cpus(machines, accelerator),
    )


async def accelerator(
    choice: Literal["auto", "kvm", "tcg"], *, binary: str, kernel: Path | None, cache_dir: Path
) -> Accelerator:
    """The one to use: as chosen, or `auto`: KVM only if a Linux kernel has really booted under it since the host did.

    A paravirtual /dev/kvm opens and makes VMs whose kernels then hang: only a boot tells. `kernel` is what to boot;
    none: this host's own. The answer is kept in `cache_dir`; agents that ask at the same time wait for one boot.
    """
    if choice != "auto":
        return Accelerator(choice)
    kernel = kernel or _own_kernel()
    if kernel is None or not os.access("/dev/kvm", os.R_OK | os.W_OK):
        return Accelerator.tcg
    version = await process.run([binary, "--version"], timeout_s=_PROBE_S)
    key = [boot_id(), version.splitlines()[0], str(kernel), kernel.stat().st_mtime_ns]
    with _opened(cache_dir / "kvm.json") as cache:
        await asyncio.to_thread(fcntl.flock, cache, fcntl.LOCK_EX)
        runs = _recalled(cache.name, key)
        if runs is None:
            runs = await _boots_under_kvm(binary, kernel)
            cache.truncate(0)
            cache.write(json.dumps({"key": key, "runs": runs}))
    return Accelerator.kvm if runs else Accelerator.tcg


def _opened(cache: Path) -> TextIO:
    cache.parent.mkdir(parents=True, exist_ok=True)
    return cache.open("a+")


def _recalled(path: str, key: list[Any]) -> bool | None:
    """What an earlier probe of the very same things found."""
    try:
        known = json.loads(Path(path).read_text())
    except ValueError:
        return None
    return bool(known["runs"]) if known["key"] == key else None


async def _boots_under_kvm(binary: str, kernel: Path) -> bool:
    """Without a root file system the kernel panics, and QEMU ends, as soon as it has come up."""
    words = [
        *(binary, "-machine", "q35", "-accel", "kvm", "-m", "256", "-nodefaults", "-no-user-config"),
        *("-display", "none", "-serial", "stdio", "-no-reboot"),
        *("-kernel", str(kernel), "-append", "console=ttyS0 panic=-1"),
    ]
    try:
        return _BOOTED in await process.run(words, timeout_s=_KVM_BOOT_S)
    except Failed:
        return False


def _own_kernel() -> Path | None:
    own = Path(f"/boot/vmlinuz-{os.uname().release}")
    return own if own.exists() else max(Path("/boot").glob("vmlinuz-*"), default=None)


async def _check_version(binary: str, env: Mapping[str, str]) -> None:
    answer = await process.run([binary, "--version"], timeout_s=_PROBE_S, env=env)
    found = re.search(r"version (\d+)\.(\d+)", answer)
    if not found:
        raise Failed(f"{binary} does not say its version: it is no QEMU; set `qemu` in the agent's configuration")
    version = (int(found[1]), int(found[2]))
    if version < OLDEST:
        raise Failed(f"{binary} is QEMU {version[0]}.{version[1]}: godwit needs 7.2 or newer; install a newer one")


async def _ask(words: list[str], env: Mapping[str, str], commands: tuple[str, ...]) -> list[Any]:
    """A QEMU's answers to those commands; it has ended when they are here."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        qmp = ["-chardev", f"socket,id=qmp,fd={theirs.fileno()}", "-mon", "chardev=qmp,mode=control"]
        qemu = asyncio.create_task(process.run([*words, *qmp], timeout_s=_PROBE_S, env=env, pass_fds=[theirs.fileno()]))
        asking = asyncio.create_task(_answers(ours, commands))
        try:
            await asyncio.wait({qemu, asking}, return_when=asyncio.FIRST_COMPLETED)
            if qemu.done():
                qemu.result()
            answers = await asking
            await qemu
        finally:
            asking.cancel()
            qemu.cancel()
            await asyncio.wait({qemu, asking})
    return answers


async def _answers(sock: socket.socket, commands: tuple[str, ...]) -> list[Any]:
    monitor = await Monitor.connect(sock)
    try:
        answers = [await monitor.execute(command) for command in commands]
        with contextlib.suppress(Unreachable):
            await monitor.execute("quit")
    finally:
        await monitor.close()
    return answers


def _machines(answer: list[dict[str, Any]]) -> tuple[str, ...]:
    """Newest first; those that QEMU will drop are no place to start a long life."""
    names = {
        tuple(int(part or 0) for part in found.groups()): each["name"]
        for each in answer
        if (found := _MACHINE.fullmatch(each["name"])) and not each.get("deprecated")
    }
    return tuple(names[version] for version in sorted(names, reverse=True))


def _most_cpus(answer: list[dict[str, Any]], accelerator: Accelerator) -> int | None:
    """Of the newest machine type; without KVM's APICs no more than an APIC has numbers for."""
    newest = _machines(answer)[:1]
    most = next((int(each["cpu-max"]) for each in answer if each["name"] in newest), None)
    return most if most is None or accelerator is Accelerator.kvm else min(most, _APIC_CPUS)


def _cpu_models(answer: list[dict[str, Any]]) -> tuple[str, ...]:
    """Versioned, so that the same name means the same features in every QEMU; runnable here without losing one."""
    return tuple(
        sorted(
            each["name"]
            for each in answer
            if _CPU_MODEL.fullmatch(each["name"]) and each.get("unavailable-features") == [] and not each["deprecated"]
        )
    )


def _cpu_lacks(answer: list[dict[str, Any]]) -> dict[str, tuple[str, ...]]:
    """What keeps each of the others from running."""
    lacking = {each["name"]: each.get("unavailable-features") or [] for each in answer}
    return {
        name: tuple(sorted(set(features)))
        for name, features in sorted(lacking.items())
        if features and _CPU_MODEL.fullmatch(name)
    }

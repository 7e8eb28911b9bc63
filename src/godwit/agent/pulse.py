"""Is a VM alive? As far as its QEMU, the kernel, and its own answers tell."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Sequence
from ipaddress import IPv4Address
from typing import Any

from godwit.agent.guest import answered_ms
from godwit.agent.local import LocalVm
from godwit.core.looked import Answer, Pulse
from godwit.host.process import thread_cpu_ms
from godwit.network.pulse import answers


async def pulse(vm: LocalVm) -> Pulse:
    """Within two seconds and a little; its guest agent is asked only where its network does not tell."""
    ask = vm.machine.monitor.execute
    before_ms = await _cpu_ms(vm)
    heard = await _answers(vm)
    agent_ms = None if _is_heard(heard) else await answered_ms(vm)  # it wakes slowly, and clients wait for its CPU
    status, blocks, counts, after_ms = await asyncio.gather(
        ask("query-status"), ask("query-block"), ask("query-blockstats"), _cpu_ms(vm)
    )
    counted = [each["stats"] for each in counts]
    return Pulse(
        is_running=bool(status["running"]),
        cpu_ms=after_ms - before_ms,
        answers=heard,
        broken_disks=tuple(_name(each) for each in blocks if each.get("io-status", "ok") != "ok"),
        agent_ms=agent_ms,
        disk_operations=_sum(counted, "{}_operations"),
        failed_operations=_sum(counted, "failed_{}_operations"),
    )


async def _cpu_ms(vm: LocalVm) -> float:
    cpus = await vm.machine.monitor.execute("query-cpus-fast")
    return sum(thread_cpu_ms(vm.machine.qemu_pid, each["thread-id"]) for each in cpus)


async def _answers(vm: LocalVm) -> tuple[Answer, ...]:
    """By its IPv4 addresses, as far as they are known."""
    pairs = zip(vm.passport.plugs, vm.passport.spec.nics, strict=False)
    asked = [(plug, nic.ip.ip) for plug, nic in pairs if nic.ip]
    heard = await asyncio.gather(*(answers(plug.tap, plug.bridge, [ip]) for plug, ip in asked))
    return tuple(_answer(ip, found) for (_, ip), found in zip(asked, heard, strict=True))


def _is_heard(answers: Sequence[Answer]) -> bool:
    return bool(answers) and all(each.after_ms is not None for each in answers)


def _answer(ip: IPv4Address, found: dict[IPv4Address, float]) -> Answer:
    return Answer(ip=str(ip), after_ms=found.get(ip))


def _sum(counted: list[dict[str, int]], name: str) -> int:
    return sum(each.get(name.format(kind), 0) for each in counted for kind in ("rd", "wr", "flush"))


def _name(block: dict[str, Any]) -> str:
    return os.path.basename(block.get("qdev") or block.get("device") or "disk")

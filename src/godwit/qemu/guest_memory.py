"""How much memory a guest has touched, and how fast it writes: asked from the kernel and from QEMU, before a move."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Sequence
from pathlib import Path
from time import monotonic

from godwit.core.errors import Failed
from godwit.qemu.monitor import Monitor

_MAPPING = re.compile(r"^[0-9a-f]+-[0-9a-f]+ ")
_LOOK_S = 0.02
_LATE_S = 2.0
_SAMPLE_LEAST = 512
_SAMPLE_MOST = 16384
"""Pages in each GiB; QEMU accepts no more. Of larger guests fewer, so that looking stays quick."""
_KIB = 1024


def resident_bytes(pid: int, memory_bytes: int) -> int:
    """Of the guest's memory, what is backed by pages of its own: the mapping of about that size that holds most."""
    best = size_kib = 0
    try:
        lines = Path(f"/proc/{pid}/smaps").read_text().splitlines()
    except OSError:
        return 0
    for line in lines:
        if _MAPPING.match(line):
            size_kib = 0
        elif line.startswith("Size:"):
            size_kib = int(line.split()[1])
        elif line.startswith("Rss:") and abs(size_kib * _KIB - memory_bytes) <= memory_bytes // 16:
            best = max(best, int(line.split()[1]) * _KIB)
    return best


async def dirtied(monitor: Monitor, lengths_ms: Sequence[int], *, memory_bytes: int) -> list[tuple[float, int]]:
    """(seconds, bytes dirtied meanwhile, each page once) for each length, one after another; none where QEMU cannot.

    QEMU looks at a sample of the pages twice, so the guest is not slowed down, and it works without KVM. QEMU 7.2
    knows whole seconds only: for it a shorter length is left out.
    """
    found = []
    per_gib = max(_SAMPLE_LEAST, min(_SAMPLE_MOST, _SAMPLE_MOST * 2**30 // memory_bytes))
    for length_ms in lengths_ms:
        try:
            found.append(await _dirtied(monitor, length_ms, per_gib))
        except Failed:
            continue
    return found


async def _dirtied(monitor: Monitor, length_ms: int, per_gib: int) -> tuple[float, int]:
    whole, rest = divmod(length_ms, 1000)
    time = {"calc-time": length_ms, "calc-time-unit": "millisecond"} if rest else {"calc-time": whole}
    await monitor.execute("calc-dirty-rate", {**time, "sample-pages": per_gib})
    seconds, began = length_ms / 1000, monotonic()
    await asyncio.sleep(seconds)
    while monotonic() - began < seconds + _LATE_S:
        answer = await monitor.execute("query-dirty-rate")
        if answer["status"] == "measured":
            return seconds, int(answer.get("dirty-rate", 0) * 2**20 * seconds)  # in MiB/s
        await asyncio.sleep(_LOOK_S)
    raise Failed("QEMU measures the dirty rate and does not come to its end; try again")

"""What the kernel says of this host."""

from __future__ import annotations

import os
from pathlib import Path


def boot_id() -> str:
    """Differs after every boot of the machine."""
    return Path("/proc/sys/kernel/random/boot_id").read_text().strip()


def memory_mib() -> int:
    """All memory that the kernel manages."""
    fields = dict(line.split(":", 1) for line in Path("/proc/meminfo").read_text().splitlines())
    return int(fields["MemTotal"].split()[0]) // 1024


def cpu_times() -> tuple[float, float]:
    """Seconds that all CPUs together have been idle, and that have passed for them (proc(5), /proc/stat)."""
    line = Path("/proc/stat").read_text().splitlines()[0]
    ticks = [int(word) for word in line.split()[1:9]]
    per_s = os.sysconf("SC_CLK_TCK")
    return (ticks[3] + ticks[4]) / per_s, sum(ticks) / per_s


def idle_cpus(before: tuple[float, float], after: tuple[float, float]) -> float:
    """How many CPUs had nothing to do between the two."""
    passed = after[1] - before[1]
    return (after[0] - before[0]) / passed * (os.cpu_count() or 1) if passed > 0 else 0.0


def cpus() -> int:
    """CPUs that this process may use."""
    return len(os.sched_getaffinity(0))


def swapped_mib(pid: int) -> int:
    """How much of that process lies in swap; 0 when it is gone."""
    try:
        text = Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return 0
    fields = dict(line.split(":", 1) for line in text.splitlines())
    return int(fields.get("VmSwap", "0 kB").split()[0]) // 1024


def load() -> float:
    """Processes that want a CPU, averaged over the last minute, for each CPU."""
    return os.getloadavg()[0] / cpus()

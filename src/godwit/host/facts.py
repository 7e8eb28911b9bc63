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

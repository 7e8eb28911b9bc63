"""Whether the memory stream is compressed: pays where the link is slower than a CPU compresses, and CPUs are idle."""

from __future__ import annotations

from godwit.core.forecast import Measured
from godwit.core.migration import Compress
from godwit.core.model import HostFacts

NONE = "none"
CORE_BYTES_PER_S = 400e6
"""What one core takes in with zstd at its lowest level."""
IDLE_CPUS = 2.0
"""At the source: one for each connection."""


def choose(wish: Compress, source: HostFacts, destination: HostFacts, measured: Measured) -> str:
    """QEMU's word for it; `none` where either QEMU does not know zstd or has one connection only."""
    knows = all("zstd" in host.qemu.compressions and host.qemu.multifd for host in (source, destination))
    if wish is Compress.off or not knows:
        return NONE
    if wish is Compress.zstd:
        return "zstd"
    has_room = measured.idle_cpus >= IDLE_CPUS
    is_slow_link = 0 < measured.link_bytes_per_s < CORE_BYTES_PER_S
    return "zstd" if has_room and is_slow_link else NONE

"""Whether memory is compressed, on made-up hosts and links."""

from __future__ import annotations

import pytest

from godwit.core.compression import choose
from godwit.core.forecast import Measured
from godwit.core.migration import Compress
from godwit.core.model import HostFacts
from godwit.testing.world import facts

SLOW, FAST = 118_000_000, 1_180_000_000


def host(*, knows: bool = True, multifd: bool = True) -> HostFacts:
    told = facts("host-a")
    compressions = ("none", "zlib", "zstd") if knows else ("none", "zlib")
    return told.model_copy(
        update={"qemu": told.qemu.model_copy(update={"compressions": compressions, "multifd": multifd})}
    )


@pytest.mark.parametrize(
    ("wish", "link", "idle", "chosen"),
    [
        (Compress.auto, SLOW, 4.0, "zstd"),
        (Compress.auto, SLOW, 1.0, "none"),
        (Compress.auto, FAST, 4.0, "none"),
        (Compress.auto, 0, 4.0, "none"),
        (Compress.off, SLOW, 4.0, "none"),
        (Compress.zstd, FAST, 0.0, "zstd"),
    ],
)
def test_it_pays_where_the_link_is_slow_and_cpus_are_idle(wish: Compress, link: int, idle: float, chosen: str) -> None:
    assert choose(wish, host(), host(), Measured(link_bytes_per_s=link, idle_cpus=idle)) == chosen


def test_both_qemus_must_know_it() -> None:
    measured = Measured(link_bytes_per_s=SLOW, idle_cpus=4.0)

    assert choose(Compress.zstd, host(), host(knows=False), measured) == "none"
    assert choose(Compress.auto, host(multifd=False), host(), measured) == "none"

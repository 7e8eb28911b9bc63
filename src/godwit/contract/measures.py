"""What hosts are asked to measure before a move."""

from __future__ import annotations

from godwit.core.forecast import Measured
from godwit.core.model import Disk, Fact, Name, Value


class Measure(Value):
    """Measure what a move of this VM to that host would go by; nothing is touched."""

    vm: Name
    memory_bytes: int
    """0: leave it alone, and the VM, which may be off."""
    destination: Name
    peer_address: str
    destination_address: str
    """On the migration network."""
    disks: tuple[Disk, ...] = ()
    """Those that shall go."""
    thorough: bool = False
    """Take some seconds, and tell more of how the guest writes."""
    link_age_s: float = 0.0
    """What was measured of the link at most so long ago will do."""
    link_is_shared: bool = False
    """Others copy over it meanwhile: what is found now tells nothing of later."""


class Measurement(Measured):
    """What was measured, and how long ago."""

    link_age_s: float = 0.0
    """Since the link was; the rest was measured just now."""


class OpenSink(Value):
    """Count for a moment what comes over the migration network."""


class Sink(Fact):
    """Where it is counted."""

    port: int
    token: str
    """To be sent first, in hexadecimal."""

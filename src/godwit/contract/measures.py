"""What hosts are asked to measure before a move."""

from __future__ import annotations

from godwit.core.model import Fact, Name, Value


class Measure(Value):
    """Measure what a move of this VM to that host would go by; nothing is touched."""

    vm: Name
    memory_bytes: int
    destination: Name
    peer_address: str
    destination_address: str
    """On the migration network."""
    thorough: bool = False
    """Take some seconds, and tell more of how the guest writes."""


class OpenSink(Value):
    """Count for a moment what comes over the migration network."""


class Sink(Fact):
    """Where it is counted."""

    port: int
    token: str
    """To be sent first, in hexadecimal."""

"""What goes through a VM's taps around its switch-over, as one host tells it."""

from __future__ import annotations

from godwit.core.model import Fact, Value
from godwit.diagnosis.flows import Connection, Datagrams


class Observe(Value):
    """What did you see of that migration?"""

    migration: str
    connections: tuple[Connection, ...] = ()
    """What the source saw of them, for the destination to follow on."""
    datagrams: tuple[Datagrams, ...] = ()


class Observed(Fact):
    """What one side saw, after what the other side had seen; times are Unix time by the destination's clock."""

    is_over: bool = True
    """False: it is still being watched; ask again."""
    is_complete: bool = False
    """Nothing was missed: capture was on, and its memory sufficed."""
    connections: tuple[Connection, ...] | None = None
    """None: not observed."""
    datagrams: tuple[Datagrams, ...] = ()

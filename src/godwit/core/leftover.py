"""What lies on a host that nobody needs."""

from __future__ import annotations

from godwit.core.model import Fact


class Leftover(Fact):
    """Something that no VM and no migration needs."""

    what: str
    where: str
    why: str
    """It is believed to be left over."""
    remedy: str = ""
    """What a person must do; empty: `repair` removes it."""
    removed: bool = False


class Leftovers(Fact):
    """Of one host."""

    found: tuple[Leftover, ...] = ()

"""How QEMU slows a guest down (auto-converge): late, and only while it dirties much. A model, for what is foretold.

migration_trigger_throttle in migration/ram.c: QEMU looks when a pass ends a second or more after its last look. A look
that finds more dirtied than `trigger` percent of what was sent since counts, and at every second one that counts the
guest is slowed down, by as much as is allowed then.
"""

from __future__ import annotations

LOOK_S = 1.0
LOOKS = 2
NEVER_PERCENT = 1
"""Less cannot be said to QEMU: as good as not at all."""
SHRINKS_PERCENT = 70
"""Of what was sent: passes that leave no more get shorter soon enough."""
LEAST_SHARE = 0.05
"""A guest that uses less of its vCPUs' time is taken for one that uses so much."""


def slowed(percent: int, vcpu_share: float) -> float:
    """The part of its work that a guest still does; standing still first costs it the time that it does not use."""
    return min(1.0, (100 - percent) / 100 / max(vcpu_share, LEAST_SHARE))


class Brake:
    """What QEMU was told, and what it made of it."""

    def __init__(self, *, is_ready: bool) -> None:
        """One that is ready counts its looks from the first on, so that the second can slow the guest down."""
        self.percent = 0
        self._allowed = NEVER_PERCENT
        self._trigger = 1 if is_ready else 100
        self._counted = 0
        self._looked_at_s = 0.0
        self._dirtied = self._sent = 0.0

    def allow(self, percent: int, trigger: int) -> None:
        """So much from the next look on that changes anything."""
        self._allowed, self._trigger = max(percent, NEVER_PERCENT), trigger

    def pass_ended(self, now_s: float, *, sent: float, dirtied: float) -> None:
        """QEMU looks, if it is time."""
        self._dirtied, self._sent = self._dirtied + dirtied, self._sent + sent
        if now_s - self._looked_at_s <= LOOK_S:
            return
        self._counted += self._dirtied > self._sent * self._trigger / 100
        if self._counted == LOOKS:
            self.percent, self._counted = self._allowed, 0
        self._looked_at_s, self._dirtied, self._sent = now_s, 0.0, 0.0

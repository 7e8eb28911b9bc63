"""The guests of hosts in memory: they heed what they are told, and their clocks are behind by a blackout."""

from __future__ import annotations

from dataclasses import dataclass, field

from godwit.contract.guest import SetGuestClock, TellGuest
from godwit.core.guest import GuestClock, Heed, Notice

BEHIND_MS = -40.0


@dataclass
class FakeGuests:
    """The verbs of contract.host.Host that are about guests."""

    notices: list[TellGuest] = field(default_factory=list, kw_only=True)
    """What the guests here were told."""
    heed: Heed = field(default=Heed.heeded, kw_only=True)

    async def tell_guest(self, request: TellGuest, /) -> Notice:
        """Heeded at once, or not."""
        self.notices.append(request)
        why = "" if self.heed is Heed.heeded else "it would not"
        return Notice(moment=request.moment, heed=self.heed, why=why, ms=1.0)

    async def set_guest_clock(self, request: SetGuestClock, /) -> GuestClock:
        """Set forward."""
        return GuestClock(skew_ms=BEHIND_MS, error_ms=0.5, left_ms=0.0)

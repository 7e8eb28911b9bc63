"""What the manager may ask of a host about the guest inside a VM; a part of `contract.host.Host`."""

from __future__ import annotations

from typing import Protocol

from godwit.core.guest import GuestClock, Moment, Notice
from godwit.core.model import Name, Value


class TellGuest(Value):
    """Tell the guest of its move, through its guest agent, and wait until it has done what it wants to do."""

    vm: Name
    moment: Moment
    source: Name
    destination: Name
    wait_s: float


class SetGuestClock(Value):
    """Set the guest's clock forward to this host's, if it is behind by no more than that."""

    vm: Name
    most_ms: float


class GuestHost(Protocol):
    """The guest told and asked; a guest that does not answer is no error."""

    async def tell_guest(self, request: TellGuest, /) -> Notice:
        """The guest knows, and its hook has ended or its time is over."""
        ...

    async def set_guest_clock(self, request: SetGuestClock, /) -> GuestClock:
        """What the guest's clock showed, and that it is right, if that could be done without setting it back."""
        ...

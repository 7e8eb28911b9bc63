"""What a guest was told of its move, and what its clock showed after it: values only."""

from __future__ import annotations

from enum import StrEnum

from godwit.core.model import Fact
from godwit.core.value import Rounded

HOOK_COMMAND = "guest-exec"
GUEST_COMMANDS = frozenset({"guest-get-time", "guest-set-time", HOOK_COMMAND})
"""What the guest agent is asked to do; to shut its guest down is known to all."""


class Moment(StrEnum):
    """When a guest is told; the first argument of its hook."""

    before = "before"
    """It is about to be moved."""
    after = "after"
    """It has been moved."""
    undone = "undone"
    """It was told that it would be, and stays where it is."""


class Heed(StrEnum):
    """What the guest made of it."""

    heeded = "heeded"
    """Its hook ended well."""
    complained = "complained"
    """Its hook ended with an error."""
    still_busy = "still-busy"
    """Its hook had not ended when the time was over; it was left running."""
    unheard = "unheard"
    """No guest agent answered, or it would not run the hook."""


class Notice(Fact):
    """One thing that a guest was told."""

    moment: Moment
    heed: Heed
    why: str = ""
    """Why it was not heeded."""
    ms: Rounded = 0.0
    """How long that took."""


class GuestClock(Fact):
    """The clock of a guest, compared with its host's."""

    skew_ms: Rounded | None = None
    """Guest's minus host's, before it was set; none: no guest agent told."""
    error_ms: Rounded = 0.0
    """Half of the best round trip: the skew is right within this."""
    left_ms: Rounded | None = None
    """After it was set; none: it was not."""
    why: str = ""
    """Why it was not read, or not set."""


class Greeted(Fact):
    """What became of a guest's clock at its new place, and of telling it that it has moved."""

    clock: GuestClock | None = None
    """None: no guest agent told."""
    notice: Notice | None = None
    """None: nobody asked for it."""

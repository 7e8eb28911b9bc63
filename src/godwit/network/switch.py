"""What the switch of a network on a host must be able to do for godwit, whatever kind it is of.

`linux_bridge` and `open_vswitch` are the kinds there are; `switches` finds which one a bridge is. Everything above
uses this and knows no kinds. The tap, the tunnel and what waits in them are the same with all of them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

from godwit.network.groups import Group
from godwit.network.siding import Siding


class Kind(StrEnum):
    """Kinds of switches."""

    linux_bridge = "linux-bridge"
    open_vswitch = "open-vswitch"


class Call(Protocol):
    """Something made ready, so that doing it takes some 0.1 ms; doing it again is harmless."""

    def __call__(self) -> None:
        """It is done; `Failed` if the kernel refuses."""

    def close(self) -> None:
        """What it was made ready with is given back."""


@dataclass(frozen=True)
class Uplink:
    """A port that leads out of the host."""

    name: str
    vlan: int | None = None
    """The tag that the network's frames carry there."""


@dataclass(frozen=True)
class Track:
    """The interfaces of one network card at its source."""

    tap: str
    bridge: str
    port: str
    """The switch's way into the tunnel."""
    tunnel: str


@dataclass(frozen=True)
class Points:
    """Where the switch's frames for one card at its source go; each is thrown by one call."""

    aside: Call
    """To the siding, and so does what it floods."""
    on: Call
    """Into the tunnel."""
    back: Call
    """To the tap."""
    quiet: Call
    """What it floods goes nowhere."""
    is_leaky: bool = False
    """Frames of the VM's multicast groups come to its tap even when it is aside."""

    def close(self) -> None:
        """They stay as they are thrown."""
        for each in (self.aside, self.on, self.back, self.quiet):
            each.close()


@dataclass(frozen=True)
class Habits:
    """What of a switch may be in a VM's way."""

    has_stp: bool = False
    is_programmed: bool = False


class Switch(Protocol):
    """The switch of one network on this host. `tap` is a VM's, by name."""

    @property
    def bridge(self) -> str:
        """Its name, which is that of an interface of the host too."""

    @property
    def kind(self) -> Kind:
        """Of which kind it is."""

    @property
    def vlan(self) -> int | None:
        """The VLAN that the network is, if the switch puts it into one."""

    async def plug(self, tap: str, *, muted: bool) -> None:
        """The tap is an up port of it, silent by itself, with its MTU and room for frames that wait.

        A muted one hears and says nothing until it is unmuted. Plugging again is harmless. `NotFound` without such a
        switch or tap; `Refused` if the switch would hold back a VM that arrives; after `Failed` unplug it.
        """

    async def unplug(self, tap: str) -> None:
        """Of the tap's port nothing is left, but what a relay needs that goes through it. Harmless when repeated."""

    async def prepare_unmute(self, tap: str, mac: str) -> Call:
        """Makes ready that the port hears all and says all, and that the switch sends that MAC's frames to it."""

    async def open_again(self, tap: str) -> None:
        """A port whose points were thrown is as it was, if it is there."""

    async def uplinks(self) -> list[Uplink]:
        """The ports by which the network leads out of the host."""

    async def habits(self) -> Habits:
        """Its own."""

    async def lead_out(self, tap: str, mac: str) -> str:
        """The points can be thrown, and where the VM is heard meanwhile changes nothing; returns what a person should
        know of it, or nothing. The tunnel is there.
        """

    async def until_passable(self, ports: Sequence[str], *, longest_s: float) -> bool:
        """Frames pass the relay's ports, or still do not after that time."""

    async def is_led_out(self, tap: str, mac: str) -> bool:
        """The VM's frames go into the tunnel."""

    def track(self, tap: str) -> Track:
        """The interfaces by which they do."""

    def standing(self, tap: str) -> set[str]:
        """The interfaces that must stand for that when tap and VM are gone."""

    def siding(self, tap: str) -> Siding:
        """A place where frames for the tap can wait."""

    def points(self, tap: str, mac: str, siding: str) -> Points:
        """All points of that card. Blocks for about a millisecond."""

    async def end_lead(self, tap: str, mac: str, *, is_home: bool) -> None:
        """The tunnel is not needed any more: the VM lives at its tap as before, or elsewhere."""

    async def announce(self, tap: str, frames: Sequence[bytes]) -> tuple[str, ...]:
        """The frames have left as if the VM had sent them; returns by which interfaces. `Failed` if by none."""

    async def groups(self, tap: str) -> tuple[Group, ...]:
        """The multicast groups that it knows somebody behind that port to be in."""

    async def prepare_joining(self, tap: str, mac: str, groups: Sequence[Group]) -> Call:
        """Makes ready that it knows the VM to be in them, as if the VM had asked."""

"""The source's half of handing a network card over: from STOP on, what comes for the VM goes to the destination.

Everything is made ready before, so that the turn is a few system calls. What the switch has for the VM goes to a
siding, where it waits. The frames that are still in the tap are sent on, behind the one or two that QEMU may
have read and not delivered (it reads one frame per queue before it notices that the VM stands still); then those of
the siding; and when that is empty, the points are thrown on to the tunnel, and the kernel alone carries what comes.
Only what comes in the few microseconds between the last look into the siding and that throw can be overtaken. How
points are thrown, each kind of switch knows for itself (`switch.Points`).
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack, closing, suppress
from dataclasses import dataclass, field
from time import time

from godwit.core.errors import Failed, NotFound
from godwit.network.delivered import Delivered
from godwit.network.netlink import Prepared
from godwit.network.ring import Capture, Frame, Injector, TapHandle
from godwit.network.swallowed import Seen, late, left_out, swallowed
from godwit.network.switch import Switch, Track
from godwit.network.tunnel import pouring

LOOKS_MOST = 50
"""Into the siding; frames that come faster than they are taken out may as well be overtaken."""


@dataclass(frozen=True)
class Turned:
    """What the turn did."""

    at_ms: float
    """Unix time at which the points were thrown."""
    frames_replayed: int = 0
    frames_drained: int = 0
    frames_held: int = 0
    """That came while those before them were being sent, and waited for them."""
    frames_late: int = 0
    """That came while the tunnel was being opened: some of those behind them may have overtaken them."""


@dataclass
class Turnout:
    """One network card at its source: points that can be thrown, and back."""

    switch: Switch
    tap: str
    mac: str
    handle: TapHandle
    track: Track = field(init=False)
    capture: Capture = field(init=False)
    delivered: Delivered | None = None
    """Tells what the guest has for certain."""
    inbound: str | None = None
    """A tunnel by which an older migration still sends the VM's frames to this host."""
    turned: Turned | None = None

    def __post_init__(self) -> None:
        self.track = self.switch.track(self.tap)
        with ExitStack() as made:
            self.capture = made.enter_context(closing(Capture(self.tap)))
            self._injector = made.enter_context(closing(Injector(self.track.tunnel)))
            self._home = made.enter_context(closing(Injector(self.tap)))
            self._siding = made.enter_context(closing(self.switch.siding(self.tap)))
            self._points = self.switch.points(self.tap, self.mac, self._siding.name)
            self._pouring = self._pourings()
            made.pop_all()
        self._aside_at_ms = 0.0

    def _pourings(self) -> dict[str, Prepared]:
        """By where they lead to."""
        made: dict[str, Prepared] = {}
        with suppress(NotFound):  # the older migration's tunnel ends just now
            if self.inbound:
                for each in (self._siding.name, self.track.tunnel, self.tap):
                    made[each] = pouring(self.inbound, each)
        return made

    @property
    def ports(self) -> tuple[str, str]:
        """What frames take their way through: they must forward before the points are thrown."""
        return self._siding.name, self.track.port

    def set_aside(self) -> None:
        """What comes for the VM waits."""
        if not self._aside_at_ms:
            self._points.aside()
            self._aside_at_ms = time() * 1000

    def turn(self, stopped_at_ms: float) -> Turned:
        """What waited for the VM is on its way to the destination, and so is what comes; harmless when repeated."""
        self.set_aside()
        if self.turned is None:
            self._pour(self._siding.name)
            drained = self.handle.drain()
            self.capture.read()
            replayed = swallowed(self._seen(), drained, stopped_at_ms=stopped_at_ms)
            self._injector.send([*replayed, *drained])
            held, overtaken, taken = self._let_go()
            coming, known = late(self.capture.entered, drained), self.capture.count
            self.capture.read()
            lost = left_out([*coming, *self.capture.since(known)], taken)
            again = len(replayed) + self._injector.send(self._ours(lost))
            self.turned = Turned(self._aside_at_ms, again, len(drained), held, overtaken)
        return self.turned

    def _seen(self) -> Seen:
        in_memory = self.delivered.heads() if self.delivered else ()
        return Seen(self.capture.entered, self.capture.said, in_memory)

    def _let_go(self) -> tuple[int, int, list[Frame]]:
        """How many frames were held, how many may have been overtaken, and which were taken out of the tap."""
        held, taken = 0, list[Frame]()
        for _ in range(LOOKS_MOST):
            come = self.handle.drain()
            taken += come
            if not (waiting := [*self._ours(come), *self._siding.drain()]):
                break
            held += self._injector.send(waiting)
        self._points.on()
        self._pour(self.track.tunnel)
        return held, self._injector.send(self._siding.drain()), taken

    def _ours(self, come: Sequence[Frame]) -> list[Frame]:
        """What came to the tap although it is shut; of points that leak, without the frames of the VM's groups, which
        come to the siding as well.
        """
        return [frame for frame in come if not (self._points.is_leaky and frame.data[0] & 1)]

    def turn_back(self) -> None:
        """The VM runs here again, and what comes for it goes to its tap."""
        self._points.back()
        self._home.send(self._siding.drain())
        self._pour(self.tap)
        self.turned, self._aside_at_ms = None, 0.0

    def _pour(self, interface: str) -> None:
        """What the older migration's tunnel brings goes there; that one may have ended since this one was laid."""
        if interface in self._pouring:
            with suppress(Failed):
                self._pouring[interface]()

    def hush(self) -> None:
        """The VM runs at the destination, whose own switch delivers broadcasts from now on."""
        self._points.quiet()

    def close(self) -> None:
        """Sockets and descriptors are given back, the siding is gone; tunnel and switch stay as they are."""
        for each in (self._points, self.capture, self.handle, self._injector, self._home, self._siding):
            each.close()
        for call in self._pouring.values():
            call.close()
        if self.delivered:
            self.delivered.close()

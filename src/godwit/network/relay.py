"""The source's half of handing a network card over: from STOP on, what comes for the VM goes to the destination.

Everything is made ready before, so that the turn itself is one system call and an empty ring: the bridge's entry for
the VM is moved to the tunnel, then the frames that still wait in the tap are sent after, behind the one or two that
QEMU may have read and not delivered (it reads one frame per queue before it notices that the VM stands still).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from time import time

from godwit.network.netlink import Prepared, index_of
from godwit.network.port import to_port, to_tap, to_tunnel
from godwit.network.ring import Capture, Injector, TapHandle
from godwit.network.tunnel import pour_into

SWALLOWED_MOST = 2
"""Frames per queue that QEMU may swallow while it stops."""
SWALLOWED_WITHIN_MS = 10.0
"""Before STOP; what it read earlier was delivered, since the guest ran."""


@dataclass(frozen=True)
class Turned:
    """What the turn did."""

    at_ms: float
    """Unix time at which the bridge was turned."""
    frames_replayed: int
    frames_drained: int


@dataclass
class Turnout:
    """One network card at its source: a bridge's entry that can be thrown over, and back."""

    tap: str
    tunnel: str
    mac: str
    handle: TapHandle
    capture: Capture = field(init=False)
    inbound: str | None = None
    """A tunnel by which an older migration still sends the VM's frames to this host."""
    turned: Turned | None = None

    def __post_init__(self) -> None:
        self.capture = Capture(self.tap)
        self._injector = Injector(self.tunnel)
        tap, tunnel = index_of(self.tap), index_of(self.tunnel)
        self._over = Prepared(f"sending {self.mac} to the destination", to_tunnel(self.mac, tap=tap, tunnel=tunnel))
        self._back = Prepared(f"taking {self.mac} back", to_tap(self.mac, tap=tap, tunnel=tunnel))
        self._quiet = Prepared(f"ending broadcasts into {self.tunnel}", to_port(tunnel, is_open=False))

    def turn(self, stopped_at_ms: float) -> Turned:
        """What comes for the VM goes to the destination, what waited too; turning twice is harmless."""
        if self.turned is None:
            self._over()
            at_ms = time() * 1000
            if self.inbound:
                pour_into(self.inbound, self.tunnel)
            drained = self.handle.drain()
            self.capture.read()
            since_ms = stopped_at_ms - SWALLOWED_WITHIN_MS
            replayed = self.capture.before(drained, since_ms=since_ms, most=SWALLOWED_MOST)
            self._injector.send([*replayed, *drained])
            self.turned = Turned(at_ms, len(replayed), len(drained))
        return self.turned

    def turn_back(self) -> None:
        """The VM runs here again, and what comes for it goes to its tap."""
        self._back()
        if self.inbound:
            pour_into(self.inbound, self.tap)
        self.turned = None

    def hush(self) -> None:
        """The VM runs at the destination, whose own bridge delivers broadcasts from now on."""
        self._quiet()

    def close(self) -> None:
        """Sockets and descriptors are given back; tunnel and bridge stay as they are."""
        for each in (self._over, self._back, self._quiet, self.capture, self.handle, self._injector):
            each.close()

"""A cable between a tap and a switch that godwit does not command: a veth pair, joined to the tap by tc.

One half, `gx-`, is the switch's port. What the switch sends by it comes in by the other half, `gy-`, and goes to the
tap, unless the gate there is shut or the way leads elsewhere; what the VM sends goes the other way. So one message to
the kernel moves all that the switch has for the VM, unicast, broadcast, and of its groups, and the switch's own daemon
has no part in it. The cable also outlives the tap. And where the switch reads frames in user space, the cable makes
the checksums and cuts the segments that the guest leaves to hardware.
"""

from __future__ import annotations

import errno
import socket
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from pyroute2.netlink.exceptions import NetlinkError

from godwit.core.errors import NotFound
from godwit.host.offload import make_checksums
from godwit.network.filters import INGRESS, WAY, Gate, gate, way
from godwit.network.netlink import Message, Prepared, index_of, opened
from godwit.network.ovs_tools import OWN
from godwit.network.port import make_ready

PORTS, JOINTS = OWN, "gy-"
"""How the names of the two halves begin."""
_CLSACT = 0xFFFFFFF1


@dataclass(frozen=True)
class Cable:
    """The cable of one tap, by name; whether it is there is another question."""

    tap: str

    @classmethod
    def of(cls, port: str) -> Cable:
        """The one with that port."""
        return cls(f"gw-{port[len(PORTS) :]}")

    @property
    def port(self) -> str:
        """The switch's half."""
        return f"{PORTS}{self.tap[3:]}"

    @property
    def joint(self) -> str:
        """Ours."""
        return f"{JOINTS}{self.tap[3:]}"

    def lay(self, *, mtu: int, muted: bool, makes_checksums: bool) -> None:
        """It is there, up, joined to the tap, which is up too, and not yet in the switch. On failure nothing is left.

        A muted one lets nothing through to the tap, and nothing from it.
        """
        self.remove()
        with opened(f"laying a cable to {self.tap}") as ip:
            try:
                ip.link("add", ifname=self.port, kind="veth", peer={"ifname": self.joint})
                port, joint, tap = (make_ready(ip, name, mtu) for name in (self.port, self.joint, self.tap))
                if makes_checksums:
                    make_checksums(self.joint)
                for index in (joint, tap):
                    _let_filter(ip, index)
                who = Gate.none if muted else Gate.all
                gates, ways = [gate(joint, who), gate(tap, who)], [way(joint, tap), way(tap, joint)]
                with Prepared(f"joining {self.tap}", [*gates, *ways]) as join:
                    join()
                ip.link("set", index=tap, state="up")
                for index in (port, joint):
                    ip.link("set", index=index, arp=False, state="up")
            except BaseException:
                self.remove()
                raise

    def remove(self) -> None:
        """It is gone, if it was there."""
        with suppress(NotFound), opened(f"removing {self.joint}") as ip:
            ip.link("del", index=index_of(self.joint))

    def opened(self) -> list[Message]:
        """Orders: all goes to the tap, and all that it says to the switch."""
        joint, tap = index_of(self.joint), index_of(self.tap)
        return [way(joint, tap), gate(joint, Gate.all), gate(tap, Gate.all)]

    def leads_to(self, interface: str, who: Gate = Gate.all) -> list[Message]:
        """Orders: it goes there instead, or only what is for one receiver does."""
        joint = index_of(self.joint)
        return [way(joint, index_of(interface)), gate(joint, who)]

    def is_led_to(self, interface: str) -> bool:
        """It goes there."""
        with suppress(NotFound), opened(f"looking where {self.joint} leads") as ip:
            joint, wanted = index_of(self.joint), index_of(interface)
            return wanted in [_way_of(each) for each in ip.get_filters(joint, parent=INGRESS)]
        return False


def all_ports() -> list[str]:
    """The switch's halves of all cables on this host."""
    return [name for _, name in socket.if_nameindex() if name.startswith(PORTS)]


def _let_filter(ip: Any, index: int) -> None:
    try:
        ip.tc("add", "clsact", index, parent=_CLSACT)
    except NetlinkError as error:
        if error.code != errno.EEXIST:  # a tap that is plugged in again
            raise


def _way_of(told: Any) -> int | None:
    """Where a filter sends frames, if it is a way."""
    if told["info"] >> 16 != WAY or (options := told.get_attr("TCA_OPTIONS")) is None:
        return None
    actions = options.get_attr("TCA_U32_ACT")
    for _, action in actions["attrs"] if actions is not None else ():
        parms = action.get_nested("TCA_ACT_OPTIONS", "TCA_MIRRED_PARMS")
        if parms is not None:
            return int(parms["ifindex"])
    return None

"""What a VM's old host knows of it besides its frames, for its new one."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address

from pydantic import ConfigDict

from godwit.contract.order import Order
from godwit.core.model import Value


class Joined(Value):
    """A multicast group that one of the VM's network cards is in."""

    nic: int
    """Its place among the VM's."""
    group: IPv4Address | IPv6Address
    vlan: int = 0


class Belongings(Order):
    """Of one VM. Told twice, the second time of what came in between."""

    model_config = ConfigDict(frozen=True, extra="forbid", ser_json_bytes="base64", val_json_bytes="base64")

    joined: tuple[Joined, ...] = ()
    flows: tuple[bytes, ...] = ()
    """Connections that the packet filter keeps track of (see network/flows.py)."""

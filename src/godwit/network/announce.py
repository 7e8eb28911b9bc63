"""Announcements: frames that go out of a bridge as if the VM behind one of its ports had sent them.

A frame sent on a bridge's port by AF_PACKET leaves through it. So it is sent on each of the other ports: the switches
behind them learn, the host's other VMs hear it, the VM does not hear itself. The bridge's own entry is `port.unmute`'s
work. (Writing to the tap itself would do both, but the agent no longer holds it after a restart; sending on the bridge
would reach the VM, whose kernel complains of a neighbour with its own IPv6 address.)
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from godwit.core.errors import Failed
from godwit.network.frames import igmp_query, mld_query
from godwit.network.netlink import index_of, opened
from godwit.network.packet import PacketSocket
from godwit.network.port import is_forwarding
from godwit.network.ring import VNET_NOTHING, Frame, Injector
from godwit.network.tunnel import ENDS


async def send(tap: str, frames: Sequence[bytes]) -> tuple[str, ...]:
    """The frames have left in order through each forwarding port, but `tap`, of the bridge that it is plugged into.

    Returns those ports' names. `Failed` if none took them.
    """
    return await asyncio.to_thread(_send, tap, frames)


async def ask_for_memberships(tap: str) -> None:
    """The VM has been asked, and nobody else, which multicast groups it is in: it tells the bridge and the network."""
    await asyncio.to_thread(_ask_for_memberships, tap)


def _ask_for_memberships(tap: str) -> None:
    injector = Injector(tap)
    try:
        injector.send([Frame(VNET_NOTHING, igmp_query()), Frame(VNET_NOTHING, mld_query())])
    finally:
        injector.close()


def _send(tap: str, frames: Sequence[bytes]) -> tuple[str, ...]:
    with opened(f"looking for the ports beside {tap}") as ip:
        own = index_of(tap)
        master = ip.link("get", index=own)[0].get_attr("IFLA_MASTER")
        links = [] if master is None else list(ip.link("dump", master=master))
        names = [link.get_attr("IFLA_IFNAME") for link in links if link["index"] != own and is_forwarding(link)]
    ports = [name for name in names if not name.startswith(ENDS)]  # other VMs' relays
    took, error = [], None
    with PacketSocket() as packet:
        for port in ports:
            try:
                for frame in frames:
                    packet.sendto(frame, (port, 0))
                took.append(port)
            except OSError as refusal:  # down, or gone since: the others matter all the same
                error = refusal
    if error is not None and not took:
        raise Failed(f"no port beside {tap} takes announcements ({error.strerror}): see `bridge link`") from error
    return tuple(took)

"""Probes: frames of no meaning that show whether a way to a VM is open.

They have the ethertype for local experiments (IEEE 802), which guests ignore.
"""

from __future__ import annotations

import asyncio
import struct
from collections.abc import Sequence
from contextlib import suppress

from godwit.network.frames import in_vlan
from godwit.network.netlink import index_of, opened
from godwit.network.packet import PacketSocket
from godwit.network.switch import Uplink

ETHERTYPE = 0x88B5
ETHERNET_BYTES = 14
_FRAME_BYTES_MIN = 60


def frame(receiver: str, sender: str, size: int = _FRAME_BYTES_MIN) -> bytes:
    """A probe of that size, without the checksum that the hardware adds."""
    ends = bytes.fromhex((receiver + sender).replace(":", ""))
    return (ends + struct.pack("!H", ETHERTYPE) + b"godwit").ljust(size, b"\0")


async def send(mac: str, bridge: str, uplinks: Sequence[Uplink]) -> None:
    """A probe for that VM has left by each of the bridge's uplinks that is up, from the bridge's own address."""
    await asyncio.to_thread(_send, mac, bridge, uplinks)


def _send(mac: str, bridge: str, uplinks: Sequence[Uplink]) -> None:
    with opened(f"looking for the address of {bridge}") as ip:
        sender = ip.link("get", index=index_of(bridge))[0].get_attr("IFLA_ADDRESS")
    with PacketSocket() as packet:
        for each in uplinks:
            with suppress(OSError):  # down, or gone since: the others matter all the same
                packet.sendto(in_vlan(frame(mac, sender), each.vlan), (each.name, 0))

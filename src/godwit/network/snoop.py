"""Hears by which addresses a VM speaks, and on which VLANs: what a guest took by itself is announced too.

The guest's own driver tells all of them once after a migration (virtio's GUEST_ANNOUNCE); others at their next ARP.
"""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address

from godwit.network.packet import ANCILLARY_BYTES, tell_tags, vlan_of
from godwit.network.witness import listening, spoken_by

Spoken = tuple[int | None, IPv4Address | IPv6Address]
"""VLAN, if any, and address."""

_ARP, _IPV6 = 0x0806, 0x86DD
_ICMPV6, _ADVERTISEMENT = 58, 136
_PACKET_OUTGOING = 4


class Snoop:
    """Remembers each address of one VM behind one tap, once."""

    def __init__(self, tap: str, mac: str) -> None:
        self._socket = listening(tap, spoken_by(mac))
        tell_tags(self._socket)
        self._heard: dict[Spoken, None] = {}

    def heard(self) -> list[Spoken]:
        """So far, in order."""
        while True:
            try:
                data, ancillary, _, address = self._socket.recvmsg(128, ANCILLARY_BYTES)
            except OSError:  # nothing more, or the tap is down, or gone
                return list(self._heard)
            spoken = address_in(data) if address[2] != _PACKET_OUTGOING else None
            if spoken:
                self._heard[vlan_of(ancillary), spoken] = None

    def close(self) -> None:
        """Gives the socket back."""
        self._socket.close()


def address_in(frame: bytes) -> IPv4Address | IPv6Address | None:
    """That an untagged ARP or neighbour advertisement tells to be its sender's."""
    ethertype = int.from_bytes(frame[12:14])
    if ethertype == _ARP and len(frame) >= 42:
        address = IPv4Address(frame[28:32])
        return None if address.is_unspecified else address
    if ethertype == _IPV6 and len(frame) >= 78 and frame[20] == _ICMPV6 and frame[54] == _ADVERTISEMENT:
        return IPv6Address(frame[62:78])
    return None

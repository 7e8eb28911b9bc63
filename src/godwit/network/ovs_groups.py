"""Multicast groups at an Open vSwitch bridge: read out of its table, and put into it by reports in the VM's name."""

from __future__ import annotations

from collections.abc import Sequence
from ipaddress import IPv4Address, IPv6Address, ip_address

from godwit.core.errors import GodwitError
from godwit.network import ovs_tools
from godwit.network.frames import igmp_report, mld_report
from godwit.network.groups import Group
from godwit.network.ring import VNET_NOTHING, Frame, Injector


async def of_port(bridge: str, port: str) -> tuple[Group, ...]:
    """The groups that it has snooped there; none if it cannot be asked."""
    try:
        number = (await ovs_tools.order("ovs-vsctl", "get", "Interface", port, "ofport")).strip()
        return in_table(await ovs_tools.groups_seen(bridge), number)
    except GodwitError:
        return ()


def in_table(text: str, port: str) -> tuple[Group, ...]:
    """Of lines of port, VLAN, group and age, where a querier stands in place of its group.

    The VLAN is the switch's affair, and none of the guest's: it is left out.
    """
    rows = (line.split() for line in text.splitlines())
    return tuple(Group(ip_address(row[2])) for row in rows if len(row) == 4 and row[0] == port and row[2] != "querier")


class Joining:
    """Says at a call that the VM is in some groups. Implements `switch.Call`."""

    def __init__(self, joint: str, mac: str, addresses: Sequence[IPv4Address | IPv6Address]) -> None:
        self._injector = Injector(joint)
        self._reports = [Frame(VNET_NOTHING, _report(mac, each)) for each in addresses]

    def __call__(self) -> None:
        """The bridge hears the reports."""
        self._injector.send(self._reports)

    def close(self) -> None:
        """Gives the socket back."""
        self._injector.close()


def _report(mac: str, address: IPv4Address | IPv6Address) -> bytes:
    return igmp_report(mac, address) if isinstance(address, IPv4Address) else mld_report(mac, address)

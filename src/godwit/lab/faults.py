"""What can be broken on purpose, and the text that breaks and mends it: values only."""

from __future__ import annotations

from collections.abc import Callable, Collection

from godwit.core.errors import Invalid, NotFound, Refused
from godwit.core.model import Name, Value
from godwit.lab.topology import CONTROL, LAN, MIGRATION, STORAGE, SWITCH_BRIDGE, Net, Node, Topology

NAMES = {
    "migration-link-down": "the host's cable to the migration network is pulled",
    "agent-link-down": "on the control network the host and the other hosts lose every frame between them",
    "control-link-down": "on the control network the host and the manager lose every frame between them",
    "announcements-blocked": "the LAN switch swallows the host's announcements and learns nothing from its port",
    "vlan-mismatch": "the LAN switch has the host's port in a VLAN of its own",
    "port-security": "the LAN switch lets only the host's own address in by its port, and none of a VM",
    "teaming-mismatch": "the host has a second cable to the LAN switch and sends each connection by one of the two",
    "mtu-mismatch": "the LAN switch loses frames of more than 1400 bytes from and to the host",
    "stale-mac": "the LAN switch never unlearns the addresses that it has seen at the host's port",
    "storage-link-down": "the host's cable to the storage network is pulled",
    "slow-link": "the host's cable to the migration network carries 20 Mbit/s",
}


class Fault(Value):
    """One fault at one place."""

    name: str
    host: Name

    def __str__(self) -> str:
        return f"{self.name}:{self.host}"


def parse(text: str, topology: Topology) -> Fault:
    """`NAME:HOST` as a fault of this lab; `NotFound` or `Invalid` names what there is."""
    name, _, host = text.partition(":")
    if name not in NAMES:
        raise NotFound(f"there is no fault {name}: choose one of {', '.join(NAMES)}")
    if host not in topology.settings.host_names:
        where = " or ".join(topology.settings.host_names)
        raise Invalid(f"{name} needs a host of this lab: write {name}:HOST with {where}")
    if name == "storage-link-down" and topology.storage is None:
        raise Refused("this lab has no storage network: start it with godwit lab up --storage-node")
    return Fault(name=name, host=host)


PULLED = {"migration-link-down": MIGRATION, "storage-link-down": STORAGE}
"""Faults that are a pulled cable."""


def cables(topology: Topology, active: Collection[Fault], net: Net) -> str:
    """`ip -batch`, run in the switch of that network: a pulled cable's port is down, all others are up."""
    pulled = {fault.host for fault in active if PULLED.get(fault.name) is net}
    states = ((node.name, "down" if node.name in pulled else "up") for node in topology.plugged_into(net))
    return "".join(f"link set dev {port} {state}\n" for port, state in states)


def drops(topology: Topology, active: Collection[Fault]) -> str:
    """`nft -f`, run in the control switch: exactly these frames are lost there from now on."""
    return _table(
        [rule for fault in sorted(active, key=str) if fault.name in _PEERS for rule in _rules(topology, fault)]
    )


def learning(topology: Topology, active: Collection[Fault]) -> str:
    """`bridge -batch`, run in the LAN switch: it learns nothing from these ports.

    A stale entry is one that no other port may correct.
    """
    stale = at(active, "stale-mac")
    deaf = at(active, "announcements-blocked") | at(active, "vlan-mismatch") | at(active, "port-security")
    if stale:
        deaf |= {port.name for port in topology.plugged_into(LAN)} - stale
    ports = (port.name for port in topology.plugged_into(LAN))
    return "".join(f"link set dev {port} learning {'off' if port in deaf else 'on'}\n" for port in ports)


def ageing(active: Collection[Fault]) -> str:
    """`ip -batch`, run in the LAN switch: how long it remembers, in hundredths of a second."""
    return f"link set dev {SWITCH_BRIDGE} type bridge ageing_time {8_640_000 if at(active, 'stale-mac') else 30_000}\n"


def losses(topology: Topology, active: Collection[Fault]) -> str:
    """`nft -f`, run in the LAN switch: exactly these frames are lost there from now on."""
    rules: list[str] = []
    for fault in sorted(active, key=str):
        if fault.name in _LOSSES:
            rules += _LOSSES[fault.name](topology, fault.host)
    return _table(rules)


def at(active: Collection[Fault], name: str) -> set[str]:
    """The hosts at which that fault is on."""
    return {fault.host for fault in active if fault.name == name}


def _announcements(_: Topology, port: str) -> list[str]:
    return [
        f'iifname "{port}" ether type 0x8035 drop',
        f'iifname "{port}" ether type arp ether daddr ff:ff:ff:ff:ff:ff drop',
        f'iifname "{port}" ip6 daddr ff02::1 icmpv6 type nd-neighbor-advert drop',
    ]


def _everything(_: Topology, port: str) -> list[str]:
    return [f'iifname "{port}" drop', f'oifname "{port}" drop']


def _strangers(topology: Topology, port: str) -> list[str]:
    own = next(host.mac(LAN) for host in topology.hosts if host.name == port)
    return [f'iifname "{port}" ether saddr != {own} drop']


def _large(_: Topology, port: str) -> list[str]:
    return [f'{way} "{port}" meta length > {SMALL_MTU} drop' for way in ("iifname", "oifname")]


SMALL_MTU = 1400
_LOSSES: dict[str, Callable[[Topology, str], list[str]]] = {
    "announcements-blocked": _announcements,
    "vlan-mismatch": _everything,
    "port-security": _strangers,
    "mtu-mismatch": _large,
}


def _table(rules: list[str]) -> str:
    chain = "".join(f"    {rule}\n" for rule in rules)
    return (
        "table bridge faults\ndelete table bridge faults\n"
        "table bridge faults {\n  chain forward {\n"
        f"    type filter hook forward priority 0\n{chain}"
        "  }\n}\n"
    )


_PEERS: dict[str, Callable[[Topology, Node], list[Node]]] = {
    "agent-link-down": lambda topology, node: [host for host in topology.hosts if host != node],
    "control-link-down": lambda topology, _: [topology.manager],
}


def _rules(topology: Topology, fault: Fault) -> list[str]:
    node = next(host for host in topology.hosts if host.name == fault.host)
    own = node.address(CONTROL)
    peers = ", ".join(peer.address(CONTROL) for peer in _PEERS[fault.name](topology, node))
    return [f"ip saddr {own} ip daddr {{ {peers} }} drop", f"ip saddr {{ {peers} }} ip daddr {own} drop"]

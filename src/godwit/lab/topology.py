"""The lab's plan: nodes, cables and addresses, and the text that `ip -batch` makes them of."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from functools import cached_property

from godwit.lab.settings import Settings, SwitchKind

LAN_POOL = "10.90.0.100-10.90.0.199/24"
HOST_BRIDGE = "br-lan"
SWITCH_BRIDGE = "br0"
AGENT_PORT = 7411
ISCSI_PORT = 3260
ISCSI_NAME = "iqn.2026-11.example:store"

_MTU = 1500
_CLIENT_NUMBER = 2
_MANAGER_NUMBER = 2
_STORAGE_NUMBER = 3
_FIRST_HOST_NUMBER = 11


class Kind(StrEnum):
    """What a node is."""

    client = "client"
    switch = "switch"
    manager = "manager"
    host = "host"
    storage = "storage"


@dataclass(frozen=True)
class Net:
    """One of the lab's networks: a switch and who is plugged into it."""

    name: str
    prefix: str
    interface: str
    """What a node calls its end of the cable."""
    prefix6: str = ""

    @property
    def switch(self) -> str:
        return f"{self.name}-switch"


LAN = Net("lan", "10.90.0", "lan0", prefix6="fd90::")
CONTROL = Net("control", "10.91.0", "ctl0")
MIGRATION = Net("migration", "10.92.0", "mig0")
STORAGE = Net("storage", "10.93.0", "sto0")
"""There with a storage node only."""
NETS = (LAN, MIGRATION, CONTROL)


@dataclass(frozen=True)
class Node:
    """One machine of the lab: a network, mount and UTS namespace."""

    name: str
    kind: Kind
    number: int = 0
    """The last part of its addresses; 0: a switch, which has none."""
    nets: tuple[Net, ...] = ()

    @cached_property
    def addresses(self) -> dict[str, str]:
        """By network; a host has none in the LAN, where it is only a bridge."""
        named = {net.name: self.address(net) for net in self.nets if self._has_address(net)}
        return named | {f"{net.name}6": f"{net.prefix6}{self.number}" for net in self.nets if self._has_address6(net)}

    def address(self, net: Net) -> str:
        return f"{net.prefix}.{self.number}"

    def mac(self, net: Net) -> str:
        """Made from the address it would have there, so that a capture can be read."""
        return "02:00:" + ":".join(f"{int(part):02x}" for part in self.address(net).split("."))

    def _has_address(self, net: Net) -> bool:
        return not (net is LAN and self.kind is Kind.host)

    def _has_address6(self, net: Net) -> bool:
        return bool(net.prefix6) and self._has_address(net)


@dataclass(frozen=True)
class Topology:
    """All nodes of a lab, in the order in which people read them."""

    settings: Settings

    @cached_property
    def nets(self) -> tuple[Net, ...]:
        return (*NETS, STORAGE) if self.settings.storage_node else NETS

    @cached_property
    def nodes(self) -> tuple[Node, ...]:
        switches = tuple(Node(net.switch, Kind.switch) for net in self.nets)
        client = Node("client", Kind.client, _CLIENT_NUMBER, (LAN,))
        manager = Node("manager", Kind.manager, _MANAGER_NUMBER, (CONTROL,))
        return (client, *switches, manager, *((self.storage,) if self.storage else ()), *self.hosts)

    @cached_property
    def storage(self) -> Node | None:
        return Node("storage", Kind.storage, _STORAGE_NUMBER, (STORAGE,)) if self.settings.storage_node else None

    @cached_property
    def hosts(self) -> tuple[Node, ...]:
        names = enumerate(self.settings.host_names, start=_FIRST_HOST_NUMBER)
        return tuple(Node(name, Kind.host, number, self.nets) for number, name in names)

    @cached_property
    def manager(self) -> Node:
        return next(node for node in self.nodes if node.kind is Kind.manager)

    def mtu(self, net: Net) -> int:
        """The longest packet that this network carries."""
        return self.settings.migration_mtu if net is MIGRATION else _MTU

    def plugged_into(self, net: Net) -> tuple[Node, ...]:
        """The nodes with a cable to that network's switch."""
        return tuple(node for node in self.nodes if net in node.nets)


def cables(topology: Topology, pids: Mapping[str, int]) -> str:
    """`ip -batch`, run anywhere in the lab: every cable, each end in the namespace of its node's process."""
    return "".join(
        f"link add name {net.interface} address {node.mac(net)} mtu {topology.mtu(net)} netns {pids[node.name]}"
        f" type veth peer name {node.name} mtu {topology.mtu(net)} netns {pids[net.switch]}\n"
        for net in topology.nets
        for node in topology.plugged_into(net)
    )


def interfaces(topology: Topology, node: Node) -> str:
    """`ip -batch`, run in the node once its cables are plugged: its bridges and addresses, everything up."""
    lines = ["link set dev lo up"]
    if node.kind is Kind.switch:
        lines += _switch(topology, node)
    elif node.kind is Kind.host and topology.settings.bridge_of(node.name) is SwitchKind.ovs:
        lines += _left_to_open_vswitch(LAN.interface)
    elif node.kind is Kind.host:
        lines += _bridge(HOST_BRIDGE, topology.mtu(LAN), node.mac(LAN)) + _port("lan0", HOST_BRIDGE)
    for net in node.nets:
        if net.name in node.addresses:
            lines += _attached(node, net)
    return "".join(f"{line}\n" for line in lines)


def _switch(topology: Topology, node: Node) -> list[str]:
    net = next(net for net in topology.nets if net.switch == node.name)
    plugged = topology.plugged_into(net)
    if net is LAN and topology.settings.switch is SwitchKind.ovs:  # it makes its bridge itself
        return [line for each in plugged for line in _left_to_open_vswitch(each.name)]
    ports = (line for each in plugged for line in _port(each.name, SWITCH_BRIDGE))
    return [*_bridge(SWITCH_BRIDGE, topology.mtu(net)), *ports]


def _left_to_open_vswitch(port: str) -> list[str]:
    return [f"link set dev {port} addrgenmode none", f"link set dev {port} up"]


def _bridge(name: str, mtu: int, mac: str = "") -> list[str]:
    address = f" address {mac}" if mac else ""
    return [
        f"link add name {name}{address} mtu {mtu} type bridge stp_state 0",
        f"link set dev {name} addrgenmode none",
        f"link set dev {name} up",
    ]


def _port(name: str, bridge: str) -> list[str]:
    return [f"link set dev {name} addrgenmode none", f"link set dev {name} master {bridge}", f"link set dev {name} up"]


def _attached(node: Node, net: Net) -> list[str]:
    device = net.interface
    lines = [f"link set dev {device} up", f"address add {node.address(net)}/24 dev {device}"]
    if net.prefix6:
        return [*lines, f"address add {net.prefix6}{node.number}/64 dev {device} nodad"]
    return [f"link set dev {device} addrgenmode none", *lines]

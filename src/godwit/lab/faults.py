"""What can be broken on purpose, and the text that breaks and mends it: values only."""

from __future__ import annotations

from collections.abc import Callable, Collection

from godwit.core.errors import Invalid, NotFound
from godwit.core.model import Name, Value
from godwit.lab.topology import CONTROL, MIGRATION, Node, Topology

NAMES = {
    "migration-link-down": "the host's cable to the migration network is pulled",
    "agent-link-down": "on the control network the host and the other hosts lose every frame between them",
    "control-link-down": "on the control network the host and the manager lose every frame between them",
    "announcements-blocked": "the LAN switch swallows the host's announcements and learns nothing from its port",
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
    return Fault(name=name, host=host)


def cables(topology: Topology, active: Collection[Fault]) -> str:
    """`ip -batch`, run in the migration switch: a pulled cable's port is down, all others are up."""
    pulled = {fault.host for fault in active if fault.name == "migration-link-down"}
    states = ((node.name, "down" if node.name in pulled else "up") for node in topology.plugged_into(MIGRATION))
    return "".join(f"link set dev {port} {state}\n" for port, state in states)


def drops(topology: Topology, active: Collection[Fault]) -> str:
    """`nft -f`, run in the control switch: exactly these frames are lost there from now on."""
    return _table(
        [rule for fault in sorted(active, key=str) if fault.name in _PEERS for rule in _rules(topology, fault)]
    )


def learning(topology: Topology, active: Collection[Fault]) -> str:
    """`bridge -batch`, run in the LAN switch: it learns nothing from the ports whose announcements are blocked."""
    deaf = _blocked(active)
    return "".join(f"link set dev {h.name} learning {'off' if h.name in deaf else 'on'}\n" for h in topology.hosts)


def silences(active: Collection[Fault]) -> str:
    """`nft -f`, run in the LAN switch: RARP, broadcast ARP and advertisements to all from those ports are lost."""
    rules = []
    for port in sorted(_blocked(active)):
        rules += [
            f'iifname "{port}" ether type 0x8035 drop',
            f'iifname "{port}" ether type arp ether daddr ff:ff:ff:ff:ff:ff drop',
            f'iifname "{port}" ip6 daddr ff02::1 icmpv6 type nd-neighbor-advert drop',
        ]
    return _table(rules)


def _blocked(active: Collection[Fault]) -> set[str]:
    return {fault.host for fault in active if fault.name == "announcements-blocked"}


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

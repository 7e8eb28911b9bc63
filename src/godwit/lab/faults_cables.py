"""Faults that are cables: a second one to the LAN switch, and a slow one to the migration network."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from godwit.lab.shaping import shaping
from godwit.lab.topology import LAN, MIGRATION, SWITCH_BRIDGE, Node, Topology

SECOND = "lan1"
"""The host's end of its second cable."""
SLOW_BITS_PER_S = 20_000_000
_ONE_OF_TWO = "u32 match ip dport 0x0002 0x0002"
"""Packets to every other port (Linux gives clients even ones): each connection keeps to one cable."""
_FOR_ONE = "u32 match u8 0x00 0x01 at -14"
"""Frames that are not broadcast or multicast."""


def second_cable(topology: Topology, host: Node, pids: Mapping[str, int]) -> str:
    """`ip -batch`, run anywhere in the lab: the cable is there."""
    mtu = topology.mtu(LAN)
    return (
        f"link add name {SECOND} mtu {mtu} netns {pids[host.name]}"
        f" type veth peer name {far_end(host)} mtu {mtu} netns {pids[LAN.switch]}\n"
    )


def far_end(host: Node) -> str:
    """What the switch calls its port of that cable."""
    return f"{host.name}-2"


def plugged_at_switch(host: Node) -> str:
    """`ip -batch`, run in the LAN switch: the cable is a port like the other."""
    port = far_end(host)
    return f"link set dev {port} addrgenmode none\nlink set dev {port} master {SWITCH_BRIDGE}\nlink set dev {port} up\n"


def plugged_at_host() -> str:
    """`ip -batch`, run in the host: the cable is up, and no port of its bridge."""
    return f"link set dev {SECOND} addrgenmode none\nlink set dev {SECOND} up\n"


def divided() -> str:
    """`tc -batch`, run in the host: some connections leave by the second cable; what comes by it is as if by the first.

    Broadcasts that come by it are lost: they came by the first as well.
    """
    first = LAN.interface
    return (
        f"qdisc add dev {first} clsact\n"
        f"filter add dev {first} egress protocol ip {_ONE_OF_TWO} action mirred egress redirect dev {SECOND}\n"
        f"qdisc add dev {SECOND} clsact\n"
        f"filter add dev {SECOND} ingress protocol all {_FOR_ONE} action mirred ingress redirect dev {first}\n"
    )


def united() -> tuple[str, str]:
    """`tc -batch` and then `ip -batch`, run in the host: there is one cable."""
    return f"qdisc del dev {LAN.interface} clsact\n", f"link del dev {SECOND}\n"


def speed(topology: Topology, host: Node, *, is_slow: bool) -> dict[str, str]:
    """By node, `tc -batch`: both ends of the host's cable to the migration network limit it so."""
    settings = topology.settings
    if is_slow:
        settings = settings.model_copy(update={"rate": f"{SLOW_BITS_PER_S // 1_000_000}mbit"})
    now = replace(topology, settings=settings)
    ends = {host.name: MIGRATION.interface, MIGRATION.switch: host.name}
    nodes = {node.name: node for node in topology.nodes}
    return {name: _anew(device, shaping(now, nodes[name])) for name, device in ends.items()}


def _anew(device: str, limits: str) -> str:
    """Whatever limited the device before is gone, and only its own lines are kept of those of its node."""
    own = "".join(f"{line}\n" for line in limits.splitlines() if f" dev {device} " in line)
    return f"qdisc replace dev {device} root handle 9: pfifo\nqdisc del dev {device} root\n{own}"

"""What limits the migration network, as text for `tc -batch`."""

from __future__ import annotations

from godwit.lab.settings import LinkQueue
from godwit.lab.topology import MIGRATION, Kind, Node, Topology

_BURST_S = 0.002
_QUEUE_S = 0.05
_MIN_BURST_BYTES = 128 * 1024
"""HTB must let one offloaded super-packet of 64 KiB pass whole, or it never passes."""


def shaping(topology: Topology, node: Node) -> str:
    """`tc -batch`, run in the node: what limits the migration network there; empty where nothing does.

    A host limits what it sends, the switch what each host receives, like the two ends of a cable of that speed.
    """
    rate = topology.settings.rate_bits_per_s
    if rate is None:
        return ""
    if node.kind is Kind.host:
        return _limited(MIGRATION.interface, rate, topology.settings.link_queue)
    if node.name == MIGRATION.switch:
        ports = topology.plugged_into(MIGRATION)
        return "".join(_limited(port.name, rate, topology.settings.link_queue) for port in ports)
    return ""


def _limited(device: str, rate: int, queue: LinkQueue) -> str:
    lines = [f"qdisc add dev {device} root handle 1: htb default 20", _class(device, ("1:", "1:1"), rate, rate)]
    lines += _two_queues(device, rate) if queue is LinkQueue.priority else _one_queue(device, rate)
    return "".join(f"{line}\n" for line in lines)


def _one_queue(device: str, rate: int) -> list[str]:
    return [_class(device, ("1:1", "1:20"), rate, rate), _waiting(device, "20", rate)]


def _two_queues(device: str, rate: int) -> list[str]:
    """Nine tenths are promised to the first class: it never waits for memory, which takes what it leaves."""
    first = rate * 9 // 10
    return [
        f"{_class(device, ('1:1', '1:10'), first, rate)} prio 0",
        f"{_class(device, ('1:1', '1:20'), rate - first, rate)} prio 1",
        _waiting(device, "10", rate),
        _waiting(device, "20", rate),
        f"filter add dev {device} parent 1: protocol ip prio 1 u32 match ip tos 0x80 0x80 flowid 1:10",
        f"filter add dev {device} parent 1: protocol arp prio 2 u32 match u32 0 0 flowid 1:10",
    ]


def _class(device: str, place: tuple[str, str], rate: int, ceil: int) -> str:
    burst = max(int(ceil / 8 * _BURST_S), _MIN_BURST_BYTES)
    parent, name = place
    return (
        f"class add dev {device} parent {parent} classid {name} htb rate {rate}bit ceil {ceil}bit"
        f" burst {burst} cburst {burst} quantum 60000"
    )


def _waiting(device: str, name: str, rate: int) -> str:
    limit = max(int(rate / 8 * _QUEUE_S), _MIN_BURST_BYTES)
    return f"qdisc add dev {device} parent 1:{name} handle {name}: bfifo limit {limit}"

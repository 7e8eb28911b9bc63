"""From the plan to running namespaces, inside the lab."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

from godwit.lab import faults, nodes, shell, topology
from godwit.lab.nodes import Held
from godwit.lab.shaping import shaping
from godwit.lab.topology import Topology

_TIMEOUT_S = 60


def build(plan: Topology, keep: Collection[Path]) -> dict[str, Held]:
    """Every node is held, every cable plugged, every address set; the first thing that fails raises `Failed`.

    Nothing is undone on failure: the caller ends, and its namespaces with it.
    """
    held = {node.name: nodes.hold(node.name, keep) for node in plan.nodes}
    _feed(["ip", "-batch", "-"], topology.cables(plan, {name: each.pid for name, each in held.items()}))
    for node in plan.nodes:
        prefix = held[node.name].prefix
        _feed([*prefix, "ip", "-batch", "-"], topology.interfaces(plan, node))
        limits = shaping(plan, node)
        if limits:
            _feed([*prefix, "tc", "-batch", "-"], limits)
    return held


def break_down(plan: Topology, held: dict[str, Held], active: Collection[faults.Fault]) -> None:
    """Exactly these faults are on."""
    pulled, dropping = held[topology.MIGRATION.switch].prefix, held[topology.CONTROL.switch].prefix
    _feed([*pulled, "ip", "-batch", "-"], faults.cables(plan, active))
    _feed([*dropping, "nft", "-f", "-"], faults.drops(plan, active))
    lan = held[topology.LAN.switch].prefix
    _feed([*lan, "bridge", "-batch", "-"], faults.learning(plan, active))
    _feed([*lan, "nft", "-f", "-"], faults.silences(active))


def _feed(argv: list[str], text: str) -> None:
    shell.run(argv, input=text.encode(), timeout_s=_TIMEOUT_S)

"""From the plan to running namespaces, inside the lab."""

from __future__ import annotations

import sys
from collections.abc import Collection
from pathlib import Path

from godwit.lab import faults, faults_cables, nodes, open_vswitch, shell, topology
from godwit.lab.faults import Fault
from godwit.lab.nodes import Held
from godwit.lab.settings import SwitchKind
from godwit.lab.shaping import shaping
from godwit.lab.topology import Node, Topology

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
    if plan.settings.has_open_vswitch:
        _start_open_vswitch(plan, held)
    return held


def _start_open_vswitch(plan: Topology, held: dict[str, Held]) -> None:
    """It forwards where it shall, and nobody on the LAN leaves a checksum to somebody else."""
    lan, program = topology.LAN, [sys.executable, "-m", "godwit.lab.offload"]
    ports = [node.name for node in plan.plugged_into(lan)]
    _feed([*held[lan.switch].prefix, *program, *ports], "")
    for node in ports:
        _feed([*held[node].prefix, *program, lan.interface], "")
    switches = {host: (topology.HOST_BRIDGE, [lan.interface]) for host in plan.settings.bridges}
    if plan.settings.switch is SwitchKind.ovs:
        switches[lan.switch] = (topology.SWITCH_BRIDGE, ports)
    for node, (bridge, plugged) in switches.items():
        for words in open_vswitch.start(bridge, plugged):
            _feed([*held[node].prefix, *words], "")


def break_down(
    plan: Topology, held: dict[str, Held], *, active: Collection[faults.Fault], was: Collection[faults.Fault]
) -> None:
    """Exactly the `active` faults are on, where those of `was` were."""
    for net in (each for each in faults.PULLED.values() if each in plan.nets):
        _feed([*held[net.switch].prefix, "ip", "-batch", "-"], faults.cables(plan, active, net))
    _feed([*held[topology.CONTROL.switch].prefix, "nft", "-f", "-"], faults.drops(plan, active))
    _switch_badly(plan, held[topology.LAN.switch].prefix, active)
    for host in plan.hosts:
        _recable(plan, held, host, (active, was))


def _switch_badly(plan: Topology, lan: list[str], active: Collection[Fault]) -> None:
    """The LAN switch plays exactly these faults."""
    if plan.settings.switch is SwitchKind.ovs:
        for fault in active:
            open_vswitch.demand_playable(fault)
        _feed([*lan, *open_vswitch.vlans(plan, active)], "")
        replace = open_vswitch.own("ovs-ofctl", "replace-flows", topology.SWITCH_BRIDGE, "-")
        _feed([*lan, *replace], open_vswitch.flows(plan, active))
        return
    _feed([*lan, "bridge", "-batch", "-"], faults.learning(plan, active))
    _feed([*lan, "ip", "-batch", "-"], faults.ageing(active))
    _feed([*lan, "nft", "-f", "-"], faults.losses(plan, active))


def _recable(
    plan: Topology, held: dict[str, Held], host: Node, now_and_before: tuple[Collection[Fault], Collection[Fault]]
) -> None:
    """The host's cables are as they shall be; those that stay are not touched."""
    teamed, was_teamed = (host.name in faults.at(each, "teaming-mismatch") for each in now_and_before)
    if teamed and not was_teamed:
        _add_cable(plan, held, host)
    elif was_teamed and not teamed:
        limits, links = faults_cables.united()
        _feed([*held[host.name].prefix, "tc", "-batch", "-"], limits)
        _feed([*held[host.name].prefix, "ip", "-batch", "-"], links)
    slow, was_slow = (host.name in faults.at(each, "slow-link") for each in now_and_before)
    if slow != was_slow:
        for node, text in faults_cables.speed(plan, host, is_slow=slow).items():
            _feed([*held[node].prefix, "tc", "-batch", "-"], text)


def _add_cable(plan: Topology, held: dict[str, Held], host: Node) -> None:
    pids = {name: each.pid for name, each in held.items()}
    _feed(["ip", "-batch", "-"], faults_cables.second_cable(plan, host, pids))
    switch = held[topology.LAN.switch].prefix
    _feed([*switch, "ip", "-batch", "-"], faults_cables.plugged_at_switch(host))
    _feed([*held[host.name].prefix, "ip", "-batch", "-"], faults_cables.plugged_at_host())
    _feed([*held[host.name].prefix, "tc", "-batch", "-"], faults_cables.divided())


def _feed(argv: list[str], text: str) -> None:
    shell.run(argv, input=text.encode(), timeout_s=_TIMEOUT_S)

"""Open vSwitch in the lab, in user space: as a host's bridge, or as the LAN switch, with faults as its own settings."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from godwit.core.errors import Refused
from godwit.lab.faults import Fault, at
from godwit.lab.topology import LAN, Topology

PROGRAMS = ("ovs-vswitchd", "ovsdb-server", "ovsdb-tool", "ovs-vsctl", "ovs-ofctl")
PACKAGE = "openvswitch-switch"
RUN_DIR = "/run/openvswitch"
"""In its node's own /run: no Open vSwitch of the machine is touched."""
VLAN, OTHER_VLAN = 10, 20
ENVIRONMENT = tuple(f"OVS_{name}={RUN_DIR}" for name in ("RUNDIR", "DBDIR", "LOGDIR"))
ABSENT = frozenset({"stale-mac", "mtu-mismatch", "teaming-mismatch"})
"""Faults that this switch cannot play: it has no port that forgets to learn, and drops by size only when it sends."""

_FIRST = ("nice", "-n", "-19")
_FIRST_OF_ALL = f"{{ echo -19 >/proc/$(cat {RUN_DIR}/ovs-vswitchd.pid)/autogroup; }} 2>/dev/null; true"
"""A switch does not wait for guests, neither in its session nor beside others (sched(7), autogroup). An ordinary
user's does, and loses frames when it gets no CPU for 0.2 s."""
_SCHEMA = "/usr/share/openvswitch/vswitch.ovsschema"
_DATABASE, _SOCKET = f"{RUN_DIR}/conf.db", f"{RUN_DIR}/db.sock"


def start(bridge: str, ports: Sequence[str]) -> list[list[str]]:
    """The commands, run in a node in this order, after which its bridge forwards between these access ports."""
    add = ["add-br", bridge, "--", "set", "bridge", bridge, "datapath_type=netdev"]
    for port in ports:
        add += ["--", "add-port", bridge, port, f"tag={VLAN}"]
    daemon = ["--detach", "--no-chdir", "--pidfile", f"--log-file={RUN_DIR}/log", "-vconsole:off"]
    return [
        ["mkdir", "-p", RUN_DIR],
        own("ovsdb-tool", "create", _DATABASE, _SCHEMA),
        own("ovsdb-server", _DATABASE, f"--remote=punix:{_SOCKET}", *daemon),
        own("ovs-vsctl", "--no-wait", "init"),
        own(*_FIRST, "ovs-vswitchd", f"unix:{_SOCKET}", *daemon, "--disable-system"),
        ["sh", "-c", _FIRST_OF_ALL],
        own("ovs-vsctl", *add),
    ]


def own(*words: str) -> list[str]:
    """The command, speaking to the lab's own switch."""
    return ["env", *ENVIRONMENT, *words]


def demand_playable(fault: Fault) -> None:
    """The switch can play it; `Refused` otherwise."""
    if fault.name in ABSENT:
        raise Refused(f"{fault.name} is there with the lab's bridge only: start the lab without --switch ovs")


def vlans(topology: Topology, active: Collection[Fault]) -> list[str]:
    """Each host's port is in its VLAN, or in another one."""
    wrong = at(active, "vlan-mismatch")
    tags = ((host.name, OTHER_VLAN if host.name in wrong else VLAN) for host in topology.hosts)
    sets = [["set", "port", name, f"tag={tag}"] for name, tag in tags]
    return own("ovs-vsctl", *" -- ".join(" ".join(each) for each in sets).split())


def flows(topology: Topology, active: Collection[Fault]) -> str:
    """`ovs-ofctl replace-flows BRIDGE -`: it switches, but for what the faults say."""
    lines = ["priority=0 actions=NORMAL"]
    for port in sorted(at(active, "announcements-blocked")):
        others = ",".join(f"output:{each.name}" for each in topology.plugged_into(LAN) if each.name != port)
        lines += [
            f"priority=200,in_port={port},dl_type=0x8035 actions=drop",
            f"priority=200,in_port={port},arp,dl_dst=ff:ff:ff:ff:ff:ff actions=drop",
            f"priority=200,in_port={port},icmp6,icmp_type=136,ipv6_dst=ff02::1 actions=drop",
            f"priority=100,in_port={port} actions={others}",  # past NORMAL, which would learn
        ]
    for host in topology.hosts:
        if host.name in at(active, "port-security"):
            lines += [
                f"priority=201,in_port={host.name},dl_src={host.mac(LAN)} actions=NORMAL",
                f"priority=150,in_port={host.name} actions=drop",
            ]
    return "".join(f"{line}\n" for line in lines)

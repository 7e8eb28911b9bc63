"""What a lab looks like from the shell that asks: nodes, addresses and process ids as that shell counts them."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from rich.table import Table

from godwit.core.errors import Refused, TimedOut
from godwit.core.model import Fact
from godwit.lab import control, processes
from godwit.lab.control import Answer, DaemonState, Order, Verb
from godwit.lab.places import Lab
from godwit.lab.processes import Identity, Process
from godwit.lab.settings import Settings
from godwit.lab.topology import Kind, Node, Topology

_KEEPER = "godwit.qemu.keeper"


class VmProcess(Fact):
    """A process that belongs to one VM."""

    vm: str
    pid: int


class NodeStatus(Fact):
    """One node of a running lab."""

    name: str
    kind: str
    addresses: dict[str, str]
    pid: int
    """Its holder: whoever enters this process's namespaces is in the node."""
    enter: tuple[str, ...]
    """The words before a command that make it run in the node."""
    agent_pid: int | None = None
    manager_pid: int | None = None
    storage_pid: int | None = None
    """Of an iSCSI target."""
    starts: int = 0
    """How often its daemon was started, 1 if it never died."""
    keepers: tuple[VmProcess, ...] = ()
    qemus: tuple[VmProcess, ...] = ()


class LabStatus(Fact):
    """`godwit lab status --json`."""

    lab: str
    up: bool
    settings: Settings | None = None
    supervisor_pid: int | None = None
    data_dir: Path
    manager_socket: Path
    faults: tuple[str, ...] = ()
    nodes: tuple[NodeStatus, ...] = ()

    def node(self, name: str) -> NodeStatus:
        """`Refused` if there is none of that name."""
        for node in self.nodes:
            if node.name == name:
                return node
        raise Refused(f"lab {self.lab} has no node {name}: name one of {', '.join(node.name for node in self.nodes)}")


def look(lab: Lab) -> LabStatus:
    """The lab as it is now; `up` is false if its first process does not live."""
    record = lab.running()
    if record is None or record.supervisor is None:
        return LabStatus(lab=lab.name, up=False, data_dir=lab.data_dir, manager_socket=lab.manager_socket)
    answer = control.ask(lab, Order(verb=Verb.status))
    inside = _Inside(answer, record.supervisor)
    return LabStatus(
        lab=lab.name,
        up=True,
        settings=record.settings,
        supervisor_pid=record.supervisor.pid,
        data_dir=lab.data_dir,
        manager_socket=lab.manager_socket,
        faults=answer.faults,
        nodes=tuple(inside.node(node) for node in Topology(record.settings).nodes),
    )


class _Inside:
    """The lab's processes, found by the numbers that the lab itself uses."""

    def __init__(self, answer: Answer, supervisor: Identity) -> None:
        self._answer = answer
        self._all = processes.in_pid_namespace(supervisor.pid)
        self._by_inner_pid = {process.inner_pid: process for process in self._all}

    def node(self, node: Node) -> NodeStatus:
        holder = self._by_inner_pid.get(self._answer.holders[node.name])
        if holder is None:
            raise TimedOut(f"{node.name} has lost its holder this moment: ask again, or look into the lab's log")
        daemon = self._answer.daemons.get(node.name, DaemonState())
        process = self._by_inner_pid.get(daemon.pid or 0)
        daemon_pid = process.pid if process else None
        residents = [each for each in self._all if each.net == holder.net]
        return NodeStatus(
            name=node.name,
            kind=node.kind,
            addresses=node.addresses,
            pid=holder.pid,
            enter=enter(holder.pid),
            agent_pid=daemon_pid if node.kind is Kind.host else None,
            manager_pid=daemon_pid if node.kind is Kind.manager else None,
            storage_pid=daemon_pid if node.kind is Kind.storage else None,
            starts=daemon.starts,
            keepers=tuple(_keepers(residents)),
            qemus=tuple(_qemus(residents)),
        )


def enter(pid: int) -> tuple[str, ...]:
    """A command prefix for this shell: in the namespaces of that process, as root there."""
    user = () if os.geteuid() == 0 else ("--user", "--preserve-credentials")
    return ("nsenter", "--target", str(pid), *user, "--mount", "--uts", "--net", "--pid", "--")


def _keepers(residents: list[Process]) -> Iterator[VmProcess]:
    """A keeper's first argument is its VM's directory, named after the VM."""
    for process in residents:
        if _KEEPER in process.argv[:-1]:
            directory = process.argv[process.argv.index(_KEEPER) + 1]
            yield VmProcess(vm=Path(directory).name, pid=process.pid)


def _qemus(residents: list[Process]) -> Iterator[VmProcess]:
    for process in residents:
        if "qemu-system" in process.argv[0] and "-name" in process.argv[:-1]:
            name = process.argv[process.argv.index("-name") + 1]
            yield VmProcess(vm=name.split(",")[0].removeprefix("guest="), pid=process.pid)


def table(status: LabStatus) -> Table:
    """For people: one line per node."""
    shown = Table("node", "addresses", "daemon", "restarts", "VMs", "pid", box=None, pad_edge=False)
    for node in status.nodes:
        restarts = str(node.starts - 1) if node.starts > 1 else ""
        addresses = " ".join(node.addresses.values())
        shown.add_row(node.name, addresses, _daemon(node), restarts, _vms(node), str(node.pid))
    return shown


def _daemon(node: NodeStatus) -> str:
    if node.starts == 0:
        return ""
    pid = node.agent_pid or node.manager_pid or node.storage_pid
    return f"pid {pid}" if pid else "down"


def _vms(node: NodeStatus) -> str:
    return " ".join(f"{qemu.vm} (pid {qemu.pid})" for qemu in node.qemus)

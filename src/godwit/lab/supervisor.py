"""The lab's first process: it makes the nodes, keeps their daemons running, and ends the lab by ending."""

from __future__ import annotations

import fcntl
import os
import selectors
import signal
import socket
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path

from godwit.core.errors import Failed, GodwitError, NotFound
from godwit.lab import build, control, faults, namespaces, nodes, storage_node
from godwit.lab.control import Answer, Order, Verb
from godwit.lab.daemons import Daemon, daemon_words
from godwit.lab.nodes import Held
from godwit.lab.places import Lab
from godwit.lab.processes import Identity, own_outer_identity
from godwit.lab.topology import Kind, Topology

_LAST_WORDS_S = 30
_LOOK_AROUND_S = 5.0


@dataclass
class Supervisor:
    """Everything that runs in one lab; its process is the init of the lab's pid namespace."""

    plan: Topology
    held: dict[str, Held]
    daemons: dict[str, Daemon]
    active: set[faults.Fault] = field(default_factory=set)

    def obey(self, order: Order) -> Answer:
        """What the lab looks like after the order."""
        if order.verb is Verb.fault:
            self._set_fault(faults.parse(order.fault, self.plan), order.on)
        elif order.verb is Verb.stop_daemon:
            self._daemon(order.node).stop(order.signal)
        elif order.verb is Verb.start_daemon:
            self._daemon(order.node).want()
            self.start_due()
        return Answer(
            holders={name: node.pid for name, node in self.held.items()},
            daemons={name: daemon.state for name, daemon in self.daemons.items()},
            faults=tuple(sorted(str(fault) for fault in self.active)),
        )

    def reap(self) -> None:
        """Whatever ended is buried; daemons are due again and nodes have a new holder."""
        ended = _buried()
        for daemon in self.daemons.values():
            if daemon.process and daemon.process.pid in ended:
                daemon.note_end()
        for node in self.held.values():
            if node.pid in ended:
                nodes.revive(node)

    def start_due(self) -> None:
        """Every daemon that should run does."""
        for daemon in self.daemons.values():
            if daemon.is_due:
                daemon.start()

    def pause_s(self) -> float:
        """How long nothing needs to be done unless something happens: until a daemon is due, at most."""
        dues = [daemon.due_at_s for daemon in self.daemons.values() if daemon.wanted and daemon.process is None]
        return min(_LOOK_AROUND_S, max(0.0, min(dues) - time.monotonic())) if dues else _LOOK_AROUND_S

    def _set_fault(self, fault: faults.Fault, on: bool) -> None:
        active = self.active | {fault} if on else self.active - {fault}
        build.break_down(self.plan, self.held, active=active, was=self.active)
        self.active = active

    def _daemon(self, node: str) -> Daemon:
        if node not in self.daemons:
            raise NotFound(f"{node} has no daemon in this lab: name one of {', '.join(self.daemons) or 'none'}")
        return self.daemons[node]


def main(argv: list[str]) -> int:
    """`supervisor NAME RUN_DIR DATA_DIR CACHE_DIR`, started by `up` as the first process of new namespaces."""
    lab = Lab(argv[0], run_dir=Path(argv[1]), data_dir=Path(argv[2]))
    lock = os.open(lab.run_dir, os.O_RDONLY)
    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    plan = _register(lab, own_outer_identity())
    listener = control.listen(lab)
    try:
        supervisor = _make(lab, plan, cache_dir=Path(argv[3]))
    except GodwitError as error:
        _answer_once(listener, control.refusal(error))
        return 1
    _supervise(lab, supervisor, listener)
    return 0


def _register(lab: Lab, identity: Identity) -> Topology:
    """`lab.json` names us: from now on `down` finds us."""
    record = lab.record()
    if record is None or record.supervisor is not None:
        raise SystemExit(f"lab {lab.name} was removed or is another's before it came up")
    lab.write_record(record.model_copy(update={"supervisor": identity}))
    return Topology(record.settings)


def _make(lab: Lab, plan: Topology, *, cache_dir: Path) -> Supervisor:
    keep = {lab.run_dir, lab.data_dir, cache_dir, Path(sys.prefix)}
    keep |= {Path(value) for value in [os.environ.get("XDG_RUNTIME_DIR")] if value}
    try:
        namespaces.mount("proc", Path("/proc"))
        namespaces.mount_private_run(keep)
    except OSError as error:
        raise Failed(f"the lab cannot mount its own /proc and /run here: {error.strerror}") from error
    held = build.build(plan, keep)
    return Supervisor(plan, held, _daemons(lab, plan, held) if plan.settings.daemons else {})


def _daemons(lab: Lab, plan: Topology, held: dict[str, Held]) -> dict[str, Daemon]:
    verbs = {Kind.host: "agent", Kind.manager: "manager"}
    program = daemon_words()
    storage = plan.storage
    others = {}
    if storage:
        words = [*held[storage.name].prefix, *storage_node.words(storage, lab.data_dir / storage.name)]
        others[storage.name] = Daemon(words, log=lab.log_of(storage.name))
    return others | {
        node.name: Daemon(
            [*held[node.name].prefix, *program, verbs[node.kind], "--config", str(lab.config_of(node.name))],
            log=lab.log_of(node.name),
        )
        for node in plan.nodes
        if node.kind in verbs
    }


def _supervise(lab: Lab, supervisor: Supervisor, listener: socket.socket) -> None:
    """Until it is ordered to stop, or its directory was deleted and nobody can find it any more.

    One thread, one thing at a time: an order sees no half-done other one.
    """
    signals = _signal_pipe()
    with selectors.DefaultSelector() as selector:
        selector.register(listener, selectors.EVENT_READ)
        selector.register(signals, selectors.EVENT_READ)
        while lab.control_socket.exists():
            supervisor.start_due()
            ready = [key.fileobj for key, _ in selector.select(supervisor.pause_s())]
            if signals in ready and signal.SIGTERM in signals.recv(4096):
                return
            supervisor.reap()
            if listener in ready and _serve(supervisor, listener) is Verb.stop:
                return


def _serve(supervisor: Supervisor, listener: socket.socket) -> Verb | None:
    """The caller has its answer; a caller that misbehaves is forgotten."""
    line, _ = listener.accept()
    with line:
        try:
            order = control.hear(line)
            control.reply(line, _obeyed(supervisor, order))
        except (OSError, ValueError):
            return None
    return order.verb


def _obeyed(supervisor: Supervisor, order: Order) -> Answer:
    try:
        return supervisor.obey(order)
    except GodwitError as error:
        return control.refusal(error)


def _answer_once(listener: socket.socket, answer: Answer) -> None:
    """Whoever waits for the lab learns why there is none."""
    print(answer.error, file=sys.stderr, flush=True)
    listener.settimeout(_LAST_WORDS_S)
    try:
        line, _ = listener.accept()
        with line:
            control.hear(line)
            control.reply(line, answer)
    except (OSError, ValueError):
        return


def _signal_pipe() -> socket.socket:
    """Readable after a child's end or SIGTERM: the numbers of the signals."""
    reader, writer = socket.socketpair()
    for end in (reader, writer):
        end.setblocking(False)
    signal.set_wakeup_fd(writer.detach(), warn_on_full_buffer=False)
    for number in (signal.SIGCHLD, signal.SIGTERM):
        signal.signal(number, lambda *_: None)
    return reader


def _buried() -> set[int]:
    """The pids of all children that have ended, ours and the orphans that fell to us."""
    ended: set[int] = set()
    while True:
        try:
            pid, _ = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return ended
        if pid == 0:
            return ended
        ended.add(pid)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

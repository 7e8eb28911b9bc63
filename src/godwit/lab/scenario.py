"""Experiments on the product from outside: a lab of one's own, VMs in it, clients that talk to them, and what is left.

with Scenario(directory, Settings(hosts=2)) as scenario:
    scenario.create_vm("web", "host-a")
    with scenario.traffic("web") as traffic:
        report = scenario.migrate("web", "host-b")
        clients = traffic.stop().clients
    scenario.wait_tidy()
"""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import TracebackType

from godwit.client.client import Client
from godwit.core.errors import Failed, GodwitError, NotFound, TimedOut, Unreachable
from godwit.core.migration import Migration
from godwit.core.model import VmState
from godwit.core.phase import Phase
from godwit.core.report import Report
from godwit.core.resources import VmView
from godwit.lab import control, shell, status, topology
from godwit.lab.control import Order, Verb
from godwit.lab.image import default_cache, ensure_image
from godwit.lab.places import Lab
from godwit.lab.settings import Settings, SwitchKind
from godwit.lab.status import LabStatus
from godwit.lab.traffic import Traffic
from godwit.lab.traffic_process import piped

GODWIT = str(Path(sys.executable).with_name("godwit"))
NAME = "scenario"
MEMORY_MIB = 256
BULK_MBIT = 20
"""Of a download: what an emulated CPU serves without making the other clients wait."""
LAST_ANSWER_S = 30.0
"""A guest that got no CPU for a while answers late, and its connections have survived all the same."""
PATIENCE_S = 90.0
"""How long anything may take before the experiment has failed; no result depends on it."""
LOOK_S = 0.05
VM_RUN_DIRS = (
    *("find", "/run", "-ignore_readdir_race", "-mindepth", "3"),
    *("-path", "/run/godwit/[vd][mi]s*/*", "-prune", "-printf", "%f "),
)
"""There are none on a host that never had a VM; one that goes meanwhile is no error."""

OWN_LINKS = frozenset(
    {"lo", "ovs-netdev", topology.HOST_BRIDGE, *(net.interface for net in (*topology.NETS, topology.STORAGE))}
)
"""What a host without VMs has."""


@dataclass(frozen=True)
class Done:
    """A command that has ended."""

    status: int
    out: str
    err: str


class Scenario:
    """A lab and a shell in it. The lab is up while the `with` block runs, and gone after it, whatever happened."""

    def __init__(
        self,
        directory: Path,
        settings: Settings | None = None,
        *,
        godwit: Sequence[str] = (GODWIT,),
        env: Mapping[str, str] | None = None,
    ) -> None:
        """`directory` is for sockets and state: a short path, because a socket's name is limited to 107 bytes.

        `godwit` are the words that start the product, as another user for example; `env` is added to the environment.
        """
        runtime, state = directory / "r", directory / "s"
        for each in (runtime, state):
            each.mkdir(exist_ok=True)
        own = {"GODWIT_LAB": NAME, "XDG_RUNTIME_DIR": str(runtime), "XDG_STATE_HOME": str(state), **(env or {})}
        self._words = ("env", *(f"{name}={value}" for name, value in own.items()), *godwit)
        self.settings = settings or Settings()
        self.lab = Lab(NAME, run_dir=runtime / "godwit" / NAME, data_dir=state / "godwit" / "labs" / NAME)
        self.client = Client(self.lab.manager_socket)
        self._running: list[Running] = []

    def __enter__(self) -> Scenario:
        try:
            self.demand("lab", "up", *_up_words(self.settings))
        except BaseException:
            self._down()
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._down()

    def _down(self) -> None:
        self.client.close()
        try:
            self.demand("lab", "down")
        finally:
            for each in self._running:
                each.close()

    def start(self, *words: str) -> Running:
        """`godwit WORDS...` runs, not on a terminal."""
        running = Running([*self._words, *words])
        self._running.append(running)
        return running

    def run(self, *words: str) -> Done:
        """`godwit WORDS...` has ended, somehow."""
        return self.start(*words).end()

    def demand(self, *words: str) -> str:
        """What `godwit WORDS...` printed; an error that is its last line of standard error if it did not succeed."""
        done = self.run(*words)
        if done.status != 0:
            raise Failed(f"godwit {' '.join(words)} ended with status {done.status}: {done.err.strip()}")
        return done.out

    def create_vm(self, name: str, host: str, *, memory_mib: int = MEMORY_MIB) -> VmView:
        """The VM runs there; its services may not answer yet."""
        size = ("--memory", f"{memory_mib}MiB", "--cpus", "1", "--network", "lan")
        self.demand("vm", "create", name, "--image", "base", *size, "--host", host)
        return self.client.vm(name)

    def delete_vm(self, name: str) -> None:
        """The VM is gone."""
        self.demand("vm", "stop", name, "--grace", "0s")
        self.demand("vm", "delete", name)

    def wait_ready(self, vm: str) -> None:
        """Its services answer."""
        self.traffic(vm, kinds=("all",), options=("--warm-up-s=0",)).close()

    def traffic(self, vm: str, *, kinds: Sequence[str] = ("redis", "echo"), options: Sequence[str] = ()) -> Traffic:
        """Clients in the client node talk to the VM, each on one connection that it never opens again."""
        nic = self.client.vm(vm).nics[0]
        assert nic.ip is not None
        key = ensure_image("base", cache=default_cache(), progress=lambda _: None) / "id_ed25519"
        options = (f"--rate-mbit={BULK_MBIT}", f"--grace-s={LAST_ANSWER_S}", *options)
        return Traffic(str(nic.ip.ip), kinds=kinds, node=self.look().node("client").enter, key=key, options=options)

    def migrate(self, vm: str, host: str, *flags: str) -> Report:
        """The VM has moved there; any other end of `godwit migrate` raises what it said."""
        return Report.model_validate_json(self.demand("migrate", vm, host, "--json", *flags))

    def begin(self, vm: str, host: str, *flags: str) -> Moving:
        """`godwit migrate` runs and memory is being copied; `--bandwidth` keeps it at that."""
        return Moving(self, self.start("migrate", vm, host, *flags), vm)

    def look(self) -> LabStatus:
        """Nodes and process ids, as we count them."""
        return status.look(self.lab)

    def fault(self, name: str, *, on: bool) -> None:
        """The fault is on, or mended."""
        control.ask(self.lab, Order(verb=Verb.fault, fault=name, on=on))

    def mend(self) -> None:
        """No fault is on, every daemon runs and answers, and nothing runs that `start` has started."""
        while self._running:
            self._running.pop().close()
        for name in self.look().faults:
            self.fault(name, on=False)
        for node in (*self.settings.host_names, "manager"):
            control.ask(self.lab, Order(verb=Verb.start_daemon, node=node))
        self.wait_answering()

    def stop_daemon(self, node: str) -> None:
        """Its agent or manager has ended and stays down."""
        control.ask(self.lab, Order(verb=Verb.stop_daemon, node=node))

    def kill_daemon(self, *nodes: str) -> None:
        """Their agents and managers were killed, all at once, and others run; that they answer is `wait_answering`."""
        victims = {node: self.daemon_pid(node) for node in nodes}
        for node, victim in victims.items():
            assert victim is not None, f"{node} runs no daemon"
            kill(victim)
        for node, victim in victims.items():
            wait_until(f"{node} has a new daemon", partial(self._has_another, node, victim))
        wait_until("the manager listens", self.is_listened_to)

    def _has_another(self, node: str, victim: int | None) -> bool:
        return self.daemon_pid(node) not in (None, victim)

    def is_listened_to(self) -> bool:
        """Somebody accepts connections; asked with a socket of ours, because the HTTP library leaves one open."""
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as line:
            return line.connect_ex(str(self.lab.manager_socket)) == 0

    def daemon_pid(self, node: str) -> int | None:
        """Of its agent or manager, while there is one."""
        seen = self.look().node(node)
        return seen.agent_pid or seen.manager_pid

    def wait_answering(self) -> None:
        """Manager and agents answer."""
        wait_until("every host answers", lambda: all(each.reachable for each in self.client.hosts()))

    def where_it_runs(self, vm: str) -> tuple[str, ...]:
        """The hosts that hold a QEMU of it, whatever the manager believes."""
        return tuple(node.name for node in self.look().nodes for each in node.qemus if each.vm == vm)

    def qemu_pid(self, vm: str, host: str) -> int:
        """Of its one QEMU there."""
        return _only([each.pid for each in self.look().node(host).qemus if each.vm == vm], f"QEMU of {vm} on {host}")

    def keeper_pid(self, vm: str, host: str) -> int:
        """Of its one keeper there."""
        return _only(
            [each.pid for each in self.look().node(host).keepers if each.vm == vm], f"keeper of {vm} on {host}"
        )

    def leftovers(self, host: str) -> list[str]:
        """What the host holds that no VM running there needs: processes, links, directories, promised memory."""
        node = self.look().node(host)
        home = {vm.name: vm for vm in self.client.vms() if vm.host == host and vm.state is VmState.running}
        has = {
            "QEMU": Counter(each.vm for each in node.qemus),
            "keeper": Counter(each.vm for each in node.keepers),
            "directory": Counter(self._in_node(host, *VM_RUN_DIRS).split()),
        }
        found = [f"{what} of {vm}" for what, held in has.items() for vm in (held - Counter(home.keys())).elements()]
        links = {each["ifname"] for each in json.loads(self._in_node(host, "ip", "-j", "link"))} - OWN_LINKS
        each = 3 if self.settings.bridge_of(host) is SwitchKind.ovs else 1  # a tap, or a tap and a cable
        if len(links) > (wanted := each * sum(len(vm.nics) for vm in home.values())):
            found.append(f"{len(links)} network links where VMs need {wanted}: {' '.join(sorted(links))}")
        facts = self.client.host(host).facts
        assert facts is not None
        reserved_mib = facts.memory_mib - facts.memory_free_mib - sum(vm.memory_mib for vm in home.values())
        return [*found, *([f"{reserved_mib} MiB of memory kept for nobody"] if reserved_mib else [])]

    def wait_tidy(self) -> None:
        """No host holds anything that no running VM needs; `TimedOut` names what does not go away."""
        left: dict[str, list[str]] = {}

        def tidy() -> bool:
            left.update({host: self.leftovers(host) for host in self.settings.host_names})
            return not any(left.values())

        try:
            wait_until("nothing is left over", tidy)
        except TimedOut:
            raise TimedOut(f"left over: {left}") from None

    def _in_node(self, node: str, *words: str) -> str:
        return shell.run([*self.look().node(node).enter, *words], timeout_s=PATIENCE_S)


class Running:
    """A program that runs."""

    def __init__(self, words: Sequence[str]) -> None:
        self.words = words
        self.process = piped(words)

    def interrupt(self) -> None:
        """It was sent what Ctrl-C sends."""
        self.process.send_signal(signal.SIGINT)

    def end(self) -> Done:
        """It has ended; one that does not is killed and `TimedOut`."""
        try:
            out, err = self.process.communicate(timeout=PATIENCE_S)
        except subprocess.TimeoutExpired as error:
            self.process.kill()
            out, err = self.process.communicate()
            raise TimedOut(f"{self.words} did not end; it said {out.decode()}{err.decode()}") from error
        return Done(self.process.returncode, out.decode(), err.decode())

    def close(self) -> None:
        """Nothing of it is left. Harmless when repeated."""
        if self.process.poll() is None:
            self.process.kill()
        with self.process:
            pass


class Moving:
    """A `godwit migrate` that runs, and its migration."""

    def __init__(self, scenario: Scenario, running: Running, vm: str) -> None:
        """Memory is being copied."""
        self.running = running
        self._client = scenario.client
        self.id = ""
        wait_until("the migration has begun", lambda: running.process.poll() is not None or self._is_of(vm))
        if not self.id:
            raise Failed(f"no migration began: {running.end()}")
        wait_until("memory is being copied", lambda: self._is_copying)

    def end(self) -> tuple[Done, Migration]:
        """The command has ended, and so has the migration."""
        done = self.running.end()
        wait_until(f"migration {self.id} has ended", lambda: self._client.migration(self.id).is_ended)
        return done, self._client.migration(self.id)

    def _is_of(self, vm: str) -> bool:
        self.id = self._client.vm(vm).migration or ""
        return bool(self.id)

    @property
    def _is_copying(self) -> bool:
        migration = self._client.migration(self.id)
        if migration.is_ended:
            raise Failed(f"migration {self.id} ended before memory was copied: {migration.error}")
        return migration.phase is Phase.copying and bool(migration.progress and migration.progress.transferred_bytes)


def kill(pid: int) -> None:
    """That process was killed."""
    os.kill(pid, signal.SIGKILL)


def wait_until(what: str, condition: Callable[[], bool]) -> None:
    """It is so; `TimedOut` if it does not become so. A manager that does not answer leaves it open."""
    deadline = time.monotonic() + PATIENCE_S
    silence: GodwitError | None = None
    while True:
        try:
            if condition():
                return
        except (Unreachable, TimedOut) as error:
            silence = error
        if time.monotonic() > deadline:
            raise TimedOut(f"not within {PATIENCE_S:g} s: {what}") from silence
        time.sleep(LOOK_S)


def _up_words(settings: Settings) -> list[str]:
    words = ["--hosts", str(settings.hosts), "--rate", settings.rate, "--link-queue", settings.link_queue]
    words += ["--switch", settings.switch]
    words += [word for host, kind in settings.bridges.items() for word in ("--bridge", f"{host}={kind}")]
    words += ["--migration-mtu", str(settings.migration_mtu)]
    words += ["--storage-node"] if settings.storage_node else []
    for host, tree in settings.qemu.items():
        words += ["--qemu", f"{host}={tree}"]
    for image in settings.images:
        words += ["--image", image]
    return words


def _only(found: list[int], what: str) -> int:
    if len(found) != 1:
        raise NotFound(f"there is not one {what} but {len(found)}")
    return found[0]

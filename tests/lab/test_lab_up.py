"""A lab without daemons: what its namespaces promise, and that nothing of it stays."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.lab

_NODES = ["client", "lan-switch", "migration-switch", "control-switch", "manager", "host-a", "host-b"]
_KINDS = ("net", "mnt", "uts", "pid")

_SERVER = """
import socket, sys
with socket.create_server((sys.argv[1], 7000)) as server:
    print("ready", flush=True)
    line, _ = server.accept()
    print(sum(iter(lambda: len(line.recv(65536)), 0)))
"""
_CLIENT = """
import socket, sys
with socket.socket() as line:
    line.setsockopt(socket.IPPROTO_IP, socket.IP_TOS, int(sys.argv[3]))
    line.settimeout(float(sys.argv[4]))
    line.connect((sys.argv[1], 7000))
    line.settimeout(None)
    line.sendall(bytes(int(sys.argv[2])))
"""


@dataclass
class Shell:
    """A user's shell with a lab name and directories of its own."""

    env: dict[str, str]
    runtime: Path
    state: Path
    held: list[int] = field(default_factory=list)

    def lab(self, *words: str, text: str = "") -> subprocess.CompletedProcess[str]:
        return subprocess.run(self.argv(*words), env=self.env, input=text, capture_output=True, text=True, timeout=200)

    def argv(self, *words: str) -> list[str]:
        return [sys.executable, "-m", "godwit.lab.commands", *words]

    def up(self, *words: str) -> dict[str, Any]:
        done = self.lab("up", "--no-daemons", *words)
        assert done.returncode == 0, done.stderr
        return self.status()

    def status(self) -> dict[str, Any]:
        status: dict[str, Any] = json.loads(self.lab("status", "--json").stdout)
        return status

    def with_namespaces(self, status: dict[str, Any]) -> dict[str, Any]:
        """With the inodes of its nodes' namespaces, held open: the kernel gives a free number to the next one made."""
        return status | {"namespaces": {node["name"]: self._hold(node["pid"]) for node in status["nodes"]}}

    def _hold(self, pid: int) -> set[int]:
        files = [os.open(f"/proc/{pid}/ns/{kind}", os.O_RDONLY) for kind in _KINDS]
        self.held += files
        return {os.fstat(file).st_ino for file in files}

    def let_go(self) -> None:
        while self.held:
            os.close(self.held.pop())

    def in_node(self, node: str, *command: str) -> str:
        done = self.lab("exec", node, "--", *command)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def send(self, sender: str, receiver: str, address: str, size: int, tos: int = 0) -> int:
        """How many bytes arrived of those sent."""
        words = self.argv("exec", receiver, "--", sys.executable, "-c", _SERVER, address)
        with subprocess.Popen(words, env=self.env, stdout=subprocess.PIPE, text=True) as server:
            assert server.stdout is not None
            assert server.stdout.readline() == "ready\n"
            self.in_node(sender, sys.executable, "-c", _CLIENT, address, str(size), str(tos), "60")
            return int(server.stdout.readline())


@pytest.fixture(scope="module")
def new_shell(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[str], Shell]]:
    runtime, state = tmp_path_factory.mktemp("r"), tmp_path_factory.mktemp("state")
    made: list[Shell] = []

    def make(name: str) -> Shell:
        own = {"GODWIT_LAB": name, "XDG_RUNTIME_DIR": str(runtime), "XDG_STATE_HOME": str(state)}
        made.append(Shell({**os.environ, **own}, runtime / "godwit" / name, state / "godwit" / "labs" / name))
        return made[-1]

    yield make
    for shell in made:
        shell.lab("down")
        shell.let_go()


@pytest.fixture(scope="module")
def shared(new_shell: Callable[[str], Shell]) -> Shell:
    """A lab that is up; tests leave it as they find it."""
    shell = new_shell("shared")
    shell.up("--rate", "100mbit")
    return shell


@pytest.fixture
def shell(new_shell: Callable[[str], Shell]) -> Iterator[Shell]:
    """A lab that is not up yet."""
    shell = new_shell("own")
    yield shell
    shell.lab("down")
    shell.let_go()


def namespaces_of(pid: int) -> set[int]:
    return {os.stat(f"/proc/{pid}/ns/{kind}").st_ino for kind in _KINDS}


def namespaces_in_use() -> set[int]:
    found: set[int] = set()
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                found |= namespaces_of(int(entry.name))
            except OSError:
                continue
    return found


def traces(shell: Shell, status: dict[str, Any]) -> dict[str, object]:
    """What is left of the lab that had this status."""
    used = {inode for node in status["nodes"] for inode in status["namespaces"][node["name"]]}
    return {
        "namespaces": (used - namespaces_of(os.getpid())) & namespaces_in_use(),
        "files": [path for path in (shell.runtime, shell.state) if path.exists()],
        "mounts": [line for line in Path("/proc/self/mounts").read_text().splitlines() if str(shell.state) in line],
    }


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline, "it did not become true in time"
        time.sleep(0.02)


NOTHING: dict[str, object] = {"namespaces": set(), "files": [], "mounts": []}


def test_every_node_is_a_machine_of_its_own(shared: Shell) -> None:
    status = shared.with_namespaces(shared.status())
    assert [node["name"] for node in status["nodes"]] == _NODES
    own = [frozenset(status["namespaces"][name] - namespaces_of(os.getpid())) for name in _NODES]
    pid_namespace = frozenset.intersection(*own)
    assert len(pid_namespace) == 1, "they share one pid namespace"
    assert len(frozenset.union(*own)) == 1 + 3 * len(_NODES), "and nothing else"


def test_the_prefix_in_the_status_enters_the_node(shared: Shell) -> None:
    for node in shared.status()["nodes"]:
        done = subprocess.run([*node["enter"], "uname", "-n"], capture_output=True, text=True, timeout=200)
        assert (done.stdout, done.stderr) == (f"{node['name']}\n", "")


def test_exec_passes_streams_and_exit_status_through(shared: Shell) -> None:
    done = shared.lab("exec", "client", "--", "sh", "-c", "cat; echo no >&2; exit 7", text="hello")
    assert (done.stdout, done.stderr, done.returncode) == ("hello", "no\n", 7)


def test_exec_knows_its_lab_and_its_processes(shared: Shell) -> None:
    assert shared.in_node("host-a", "sh", "-c", "echo $GODWIT_LAB; cat /proc/$$/comm") == "shared\nsh\n"


def test_exec_in_an_unknown_node_names_the_known_ones(shared: Shell) -> None:
    done = shared.lab("exec", "host-z", "--", "true")
    assert done.returncode == 2
    assert "host-a, host-b" in done.stderr


def test_each_host_has_a_run_directory_of_its_own(shared: Shell) -> None:
    shared.in_node("host-a", "mkdir", "/run/godwit")
    assert shared.lab("exec", "host-b", "--", "ls", "/run/godwit").returncode == 2
    assert "godwit" in shared.in_node("host-a", "ls", "/run").split()


@pytest.mark.parametrize(
    ("sender", "receiver", "address"),
    [("host-a", "host-b", "10.92.0.12"), ("host-b", "host-a", "10.91.0.11"), ("host-a", "manager", "10.91.0.2")],
)
def test_networks_connect_their_nodes(shared: Shell, sender: str, receiver: str, address: str) -> None:
    assert shared.send(sender, receiver, address, 10_000) == 10_000


def test_the_client_reaches_what_is_plugged_into_a_hosts_bridge(shared: Shell) -> None:
    shared.in_node("host-a", "ip", "address", "add", "10.90.0.150/24", "dev", "br-lan")
    try:
        assert shared.send("client", "host-a", "10.90.0.150", 10_000) == 10_000
    finally:
        shared.in_node("host-a", "ip", "address", "delete", "10.90.0.150/24", "dev", "br-lan")


def test_the_migration_link_counts_marked_bytes_apart_and_holds_back_the_rest(shared: Shell) -> None:
    before = class_bytes(shared)
    shared.send("host-a", "host-b", "10.92.0.12", 1_000_000, tos=0xB8)
    marked = class_bytes(shared)
    shared.send("host-a", "host-b", "10.92.0.12", 3_000_000)
    after = class_bytes(shared)
    assert marked["1:10"] - before["1:10"] > 1_000_000
    assert marked["1:20"] - before["1:20"] < 10_000, "the kernel's own, such as neighbour discovery, is not marked"
    assert after["1:20"] - marked["1:20"] > 3_000_000
    held_back = re.search(r"htb 1: root.*?overlimits (\d+)", tc(shared, "qdisc"), re.DOTALL)
    assert held_back is not None
    assert int(held_back[1]) > 0


def tc(shell: Shell, what: str) -> str:
    return shell.in_node("host-a", "tc", "-s", what, "show", "dev", "mig0")


def class_bytes(shell: Shell) -> dict[str, int]:
    found = re.findall(r"class htb (1:[12]0) .*?Sent (\d+) bytes", tc(shell, "class"), re.DOTALL)
    return {name: int(sent) for name, sent in found}


@pytest.mark.parametrize(
    ("fault", "address", "spared"),
    [
        ("migration-link-down:host-b", "10.92.0.12", "10.91.0.12"),
        ("agent-link-down:host-b", "10.91.0.12", "10.92.0.12"),
        ("agent-link-down:host-a", "10.91.0.12", "10.92.0.12"),
    ],
)
def test_a_fault_cuts_what_it_names_until_it_is_off(shared: Shell, fault: str, address: str, spared: str) -> None:
    done = shared.lab("fault", fault, "on")
    assert (done.stdout, shared.status()["faults"]) == (f"faults: {fault}\n", [fault])
    try:
        assert shared.send("host-a", "host-b", spared, 1000) == 1000
        assert not reaches(shared, "host-a", address, within_s=0.7)
    finally:
        shared.lab("fault", fault, "off")
    assert shared.status()["faults"] == []
    assert shared.send("host-a", "host-b", address, 1000) == 1000


def test_the_manager_is_cut_off_from_one_host_only(shared: Shell) -> None:
    shared.lab("fault", "control-link-down:host-b", "on")
    try:
        assert not reaches(shared, "manager", "10.91.0.12", within_s=0.7)
        assert reaches(shared, "manager", "10.91.0.11")
        assert reaches(shared, "host-a", "10.91.0.12")
    finally:
        shared.lab("fault", "control-link-down:host-b", "off")
    assert reaches(shared, "manager", "10.91.0.12")


def reaches(shell: Shell, sender: str, address: str, *, within_s: float = 60.0) -> bool:
    """A refusal (nobody listens there) proves the way there and back; silence the opposite.

    After a silence the way is found again when its kernel asks for the address the next time, a second later or two.
    """
    done = shell.lab("exec", sender, "--", sys.executable, "-c", _CLIENT, address, "0", "0", str(within_s))
    return "Connection refused" in done.stderr


def test_the_status_names_the_vms_of_each_host(shared: Shell) -> None:
    program = ["qemu-system-x86_64", "-name", "guest=web", "-S", "-display", "none", "-nodefaults", "-monitor", "stdio"]
    words = shared.argv("exec", "host-b", "--", *program)
    with subprocess.Popen(words, env=shared.env, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as qemu:
        assert qemu.stdin is not None
        assert qemu.stdout is not None
        assert "monitor" in qemu.stdout.readline()
        seen = {node["name"]: node["qemus"] for node in shared.status()["nodes"] if node["qemus"]}
        command = Path(f"/proc/{seen['host-b'][0]['pid']}/cmdline").read_text()
        qemu.stdin.write("quit\n")
        qemu.stdin.close()
        qemu.stdout.read()
    assert [(host, [each["vm"] for each in qemus]) for host, qemus in seen.items()] == [("host-b", ["web"])]
    assert command.startswith("qemu-system-x86_64\0-name\0guest=web")


def test_up_twice_changes_nothing(shared: Shell) -> None:
    before = shared.status()
    done = shared.lab("up", "--no-daemons", "--rate", "100mbit")
    assert (done.returncode, done.stdout) == (0, "lab shared is up already\n")
    assert shared.status() == before


def test_up_with_other_options_is_refused_and_names_down(shared: Shell) -> None:
    before = shared.status()
    done = shared.lab("up", "--no-daemons", "--rate", "200mbit")
    assert done.returncode == 2
    assert "godwit lab down" in done.stderr
    assert shared.status() == before


def test_labs_coexist_and_end_one_by_one(shared: Shell, shell: Shell) -> None:
    shell.up()
    assert shell.in_node("client", "printenv", "GODWIT_LAB") == "own\n"
    assert shell.lab("down").stdout == "lab own is down\n"
    assert shared.status()["up"]


def test_down_leaves_nothing_and_twice_is_harmless(shell: Shell) -> None:
    status = shell.with_namespaces(shell.up("--hosts", "3", "--rate", "unlimited", "--link-queue", "fifo"))
    assert traces(shell, status)["namespaces"]
    assert shell.lab("down").returncode == 0
    assert traces(shell, status) == NOTHING
    again = shell.lab("down")
    assert again.returncode == 0
    assert again.stdout.startswith("lab own is not up")


def test_the_death_of_the_first_process_ends_everything_and_up_cleans_what_is_left(shell: Shell) -> None:
    status = shell.with_namespaces(shell.up())
    os.kill(status["supervisor_pid"], signal.SIGKILL)
    until(lambda: not traces(shell, status)["namespaces"])
    assert not shell.status()["up"]
    assert shell.lab("exec", "client", "--", "true").returncode == 2
    fresh = shell.with_namespaces(shell.up("--hosts", "3"))
    assert shell.lab("down").returncode == 0
    assert traces(shell, fresh) == NOTHING


def test_down_after_the_death_of_the_first_process_leaves_nothing(shell: Shell) -> None:
    status = shell.with_namespaces(shell.up())
    os.kill(status["supervisor_pid"], signal.SIGKILL)
    assert shell.lab("down").returncode == 0
    assert traces(shell, status) == NOTHING


def test_a_lab_whose_directory_was_deleted_ends(shell: Shell) -> None:
    status = shell.with_namespaces(shell.up())
    shutil.rmtree(shell.runtime)
    until(lambda: not traces(shell, status)["namespaces"])


def test_a_node_survives_the_death_of_its_holder(shell: Shell) -> None:
    status = shell.with_namespaces(shell.up())
    victims = {node["pid"] for node in status["nodes"]}
    for pid in victims:
        os.kill(pid, signal.SIGKILL)
    until(lambda: have_others(shell, victims))
    assert shell.with_namespaces(shell.status())["namespaces"] == status["namespaces"]
    assert shell.send("host-a", "host-b", "10.92.0.12", 1000) == 1000
    assert shell.lab("down").returncode == 0
    assert traces(shell, status) == NOTHING


def have_others(shell: Shell, victims: set[int]) -> bool:
    """Every node has another holder; as long as one has none, the status says nothing but that."""
    done = shell.lab("status", "--json")
    return done.returncode == 0 and not victims & {node["pid"] for node in json.loads(done.stdout)["nodes"]}


def test_a_lab_that_cannot_be_made_leaves_nothing(shell: Shell, tmp_path: Path) -> None:
    broken = tmp_path / "ip"
    broken.write_text("#!/bin/sh\necho no such cable >&2\nexit 1\n")
    broken.chmod(0o755)
    done = subprocess.run(
        shell.argv("up", "--no-daemons"),
        env={**shell.env, "PATH": f"{tmp_path}:{shell.env['PATH']}"},
        capture_output=True,
        text=True,
        timeout=200,
    )
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].endswith("no such cable")
    assert not shell.runtime.exists()
    assert not shell.state.exists()


def test_a_lab_that_is_interrupted_leaves_nothing(shell: Shell) -> None:
    words = [sys.executable, "-m", "godwit.main.godwit", "lab", "up"]
    with subprocess.Popen(words, env=shell.env, stderr=subprocess.PIPE, text=True) as starting:
        assert starting.stderr is not None
        while "waiting for agents" not in starting.stderr.readline():
            pass
        starting.send_signal(signal.SIGINT)
        assert starting.stderr.read().splitlines()[-1] == "godwit: interrupted"
        assert starting.wait() == 130
    assert not shell.runtime.exists()
    assert not shell.state.exists()


def test_a_home_that_cannot_be_written_is_named(shell: Shell) -> None:
    done = subprocess.run(
        shell.argv("up", "--no-daemons"),
        env={**shell.env, "XDG_STATE_HOME": "/proc/nowhere"},
        capture_output=True,
        text=True,
        timeout=200,
    )
    assert done.returncode == 2
    assert "/proc/nowhere/godwit/labs/own" in done.stderr
    assert not shell.runtime.exists()


def test_an_ordinary_user_can_do_the_same() -> None:
    if os.geteuid() != 0:
        pytest.skip("every other test of this file shows it to an ordinary user")
    nobody = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"]
    attempt = [*nobody, "unshare", "--user", "--map-root-user", sys.executable, "-c", "import godwit.lab"]
    if subprocess.run(attempt, capture_output=True, timeout=200).returncode != 0:
        pytest.skip("an ordinary user cannot run this Python or make namespaces here")
    env = {
        **os.environ,
        "GODWIT_LAB": "nobody",
        "HOME": tempfile.mkdtemp(prefix="gw"),
        "XDG_RUNTIME_DIR": "",
        "XDG_STATE_HOME": "",
    }
    os.chown(env["HOME"], 65534, 65534)

    def lab(*words: str) -> subprocess.CompletedProcess[str]:
        argv = [*nobody, sys.executable, "-m", "godwit.lab.commands", *words]
        return subprocess.run(argv, cwd="/", env=env, capture_output=True, text=True, timeout=200)

    try:
        assert lab("up", "--no-daemons").returncode == 0
        made = lab("exec", "host-a", "--", "ip", "tuntap", "add", "tap9", "mode", "tap", "vnet_hdr")
        assert (made.returncode, made.stderr) == (0, "")
    finally:
        down = lab("down")
        shutil.rmtree(env["HOME"])
    assert down.stdout == "lab nobody is down\n"

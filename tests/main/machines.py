"""Machines made of namespaces with plain commands: what `docs/install.md` is tried on, with nothing of the lab's.

A machine is a process, pid, network, mount and UTS namespace in which /etc, /var, /opt, /root and /run are its own. The
words `scp` and `systemctl` mean there what they mean between and on real machines, as far as the document needs them.
"""

from __future__ import annotations

import os
import select
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
SWITCH_MTU = 9216
"""As most switches have it: hosts choose their own below that."""
OWN = ("etc", "var", "opt", "root", "usr/local")

_SCP = """#!/bin/sh
# scp [-r] FROM MACHINE:TO: the other machine itself puts it there
[ "$1" = -r ] && shift
there=@MACHINES@/${2%%:*}
parcel=$(mktemp -d "$there/XXXXXX")
cp -r "$1" "$parcel/" || exit 1
echo "cp -r $parcel/* ${2#*:}" >"$there/inbox"
exit "$(cat "$there/outbox")"
"""
_SYSTEMCTL = """#!@PYTHON@
# enable --now UNIT | restart UNIT | daemon-reload: the unit's ExecStart, with Type=notify and KillMode=process
import os, pathlib, re, select, signal, socket, subprocess, sys
unit = sys.argv[-1]
if unit == "daemon-reload":
    sys.exit()
text = pathlib.Path(f"/etc/systemd/system/{unit}.service").read_text()
assert "Type=notify" in text
mine = pathlib.Path(f"/run/{unit}.pid")
if mine.exists():
    pid = int(mine.read_text())
    waiting = os.pidfd_open(pid)
    os.kill(pid, signal.SIGTERM)
    select.select([waiting], [], [])
command = re.search("^ExecStart=(.*)$", text, re.M)[1].split()
with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notified, open(f"/var/log/{unit}.log", "ab") as log:
    place = f"/run/{unit}.notify"
    pathlib.Path(place).unlink(missing_ok=True)
    notified.bind(place)
    notified.settimeout(90)
    words = dict(stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True)
    started = subprocess.Popen(command, env=os.environ | {"NOTIFY_SOCKET": place}, **words)
    mine.write_text(str(started.pid))
    try:
        assert notified.recv(100) == b"READY=1"
    except TimeoutError:
        sys.exit(f"{unit} is not ready")
"""
_INIT = """
set -e
mount --make-rprivate /
for each in {own}; do
    mkdir -p {directory}/upper/$each {directory}/scratch/$each
    layers=lowerdir=/$each,upperdir={directory}/upper/$each,workdir={directory}/scratch/$each
    mount -t overlay overlay -o $layers /$each
done
mkdir -p /opt/godwit {directory}/upper/venv {directory}/scratch/venv
layers=lowerdir={venv},upperdir={directory}/upper/venv,workdir={directory}/scratch/venv
mount -t overlay overlay -o $layers /opt/godwit
mount -t tmpfs tmpfs /run
mount -t sysfs sysfs /sys
hostname {name}
ip link set lo up
mkfifo {directory}/inbox {directory}/outbox
echo ready
while :; do
    read -r order <{directory}/inbox
    sh -c "$order" && status=0 || status=1
    echo $status >{directory}/outbox
done
"""


@dataclass(frozen=True)
class Machine:
    """One that is on."""

    name: str
    pid: int
    directory: Path

    def run(self, script: str, *, timeout_s: float = 240) -> str:
        """What the script printed; it ran to its end as root there, and every command of it ended with 0."""
        words = ["nsenter", "-t", str(self.pid), "-a", "env", "-C", "/root", *self._environment()]
        done = subprocess.run(
            [*words, "sh", "-euc", script], capture_output=True, text=True, timeout=timeout_s, check=False
        )
        assert done.returncode == 0, f"{self.name}: {script}\n{done.stdout}{done.stderr}\n{self.logs()}"
        return done.stdout

    def write(self, path: str, text: str) -> None:
        """That file holds that there."""
        subprocess.run(
            ["nsenter", "-t", str(self.pid), "-m", "sh", "-c", f"mkdir -p {Path(path).parent}; cat > {path}"],
            input=text, text=True, check=True,
        )  # fmt: skip

    def logs(self) -> str:
        """What its daemons said."""
        files = sorted((self.directory / "upper" / "var" / "log").glob("godwit-*.log"))
        return "".join(f"--- {file.name}\n{file.read_text()[-3000:]}" for file in files)

    def _environment(self) -> list[str]:
        cache = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
        path = "/usr/local/bin:/usr/local/sbin:/usr/bin:/usr/sbin:/bin:/sbin"
        return ["-i", f"PATH={path}", "HOME=/root", f"XDG_CACHE_HOME={cache}", "LANG=C.UTF-8"]


@contextmanager
def machine(name: str, machines: Path) -> Iterator[Machine]:
    """It is on as long as this holds; then nothing of it is left."""
    directory = machines / name
    for each in ("upper", "scratch"):
        (directory / each).mkdir(parents=True)
    init = _INIT.format(own=" ".join(OWN), directory=directory, name=name, venv=sys.prefix)
    words = ["unshare", "--net", "--mount", "--uts", "--ipc", "--pid", "--mount-proc", "--fork", "--kill-child"]
    process = subprocess.Popen([*words, "sh", "-c", init], stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout
        assert process.stdout.readline() == "ready\n"
        children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
        there = Machine(name, int(children[0]), directory)
        with _gone_afterwards(there.pid, process):
            _equip(there, machines)
            yield there
    finally:
        process.kill()
        process.wait()
        if process.stdout:
            process.stdout.close()


@contextmanager
def _gone_afterwards(pid: int, starter: subprocess.Popen[str]) -> Iterator[None]:
    """All processes of that pid namespace: the kernel lets the first one end last, and nobody writes any more."""
    first = os.pidfd_open(pid)
    try:
        yield
    finally:
        starter.kill()  # and with it, by --kill-child and the pid namespace, everything
        select.select([first], [], [])
        os.close(first)


def _equip(there: Machine, machines: Path) -> None:
    """What the document's commands for installing software leave, without the network, and the two words."""
    subprocess.run(
        [
            *("nsenter", "-t", str(there.pid), "-m", "sh", "-euc"),
            f"mkdir -p /opt/godwit/share/godwit; cp {ROOT}/packaging/* "
            "/opt/godwit/share/godwit; ln -sf /opt/godwit/bin/godwit /usr/local/bin/; mkdir -p /etc/systemd/system",
        ],
        check=True,
    )
    for name, text in (
        ("scp", _SCP.replace("@MACHINES@", str(machines))),
        ("systemctl", _SYSTEMCTL.replace("@PYTHON@", sys.executable)),
    ):
        there.write(f"/usr/local/bin/{name}", text)
        subprocess.run(["nsenter", "-t", str(there.pid), "-m", "chmod", "+x", f"/usr/local/bin/{name}"], check=True)


def plug(card: str, of: Machine, *, into: Machine, address: str | None = None) -> None:
    """That machine has such a card, and its cable ends in the other one's bridge `br-<card>`."""
    far = f"{card}-{of.name}"[:15]
    ip("link", "add", far, "netns", str(into.pid), "type", "veth", "peer", "name", card, "netns", str(of.pid))
    into.run(f"ip link set {far} mtu {SWITCH_MTU} master br-{card} up")
    of.run(f"ip link set {card} up" + (f"; ip address add {address} dev {card}" if address else ""))


def ip(*words: str) -> None:
    """The command of that name, outside of all machines."""
    subprocess.run(["ip", *words], check=True)


def blocks(document: Path) -> Iterator[tuple[str, Sequence[str], str]]:
    """The document's blocks that say where they belong: kind (`sh`, `toml`), places, text."""
    lines = iter(document.read_text().splitlines())
    for line in lines:
        if not line.startswith("```"):
            continue
        kind, *places = line.removeprefix("```").split() or [""]
        text: list[str] = []
        for inner in lines:
            if inner.startswith("```"):
                break
            text.append(inner)
        if places:
            yield kind, places, "\n".join(text)

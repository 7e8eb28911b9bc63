"""Machines on which a whole Debian with its own systemd has booted: systemd-nspawn over one tree that none changes."""

from __future__ import annotations

import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.main.machines import Machine

BOOT_S = 120.0


@dataclass(frozen=True)
class Booted(Machine):
    """One that is on, and tells of its units."""

    def logs(self) -> str:
        """What its daemons said."""
        words = ["nsenter", "-t", str(self.pid), "-a", "journalctl", "--no-pager", "-n", "60", "-u", "godwit-*"]
        return subprocess.run(words, capture_output=True, text=True, check=False).stdout


@contextmanager
def booted(name: str, *, tree: Path, machines: Path) -> Iterator[Booted]:
    """That machine is on, with what the tree has; then it is off, and nothing is left of it."""
    directory = machines / name
    for each in ("upper", "scratch", "root"):
        (directory / each).mkdir(parents=True)
    layers = f"lowerdir={tree},upperdir={directory}/upper,workdir={directory}/scratch"
    subprocess.run(["mount", "-t", "overlay", "overlay", "-o", layers, directory / "root"], check=True)
    try:
        with _notified(directory / "notify") as ready, (directory / "console").open("wb") as console:
            process = subprocess.Popen(
                [
                    *("systemd-nspawn", "--quiet", "--boot", f"--directory={directory}/root", f"--machine={name}"),
                    *("--register=no", "--keep-unit", "--private-network", "--notify-ready=yes"),
                    "--bind=/dev/net/tun",
                    "--system-call-filter=pidfd_getfd",  # which a machine of one's own allows root
                ],
                env={"NOTIFY_SOCKET": str(directory / "notify"), "PATH": "/usr/bin:/usr/sbin"},
                stdin=subprocess.DEVNULL,
                stdout=console,
                stderr=subprocess.STDOUT,
            )
            try:
                yield Booted(name, _leader(ready), directory)
            finally:
                process.terminate()  # as a power button: its systemd ends it
                process.wait(BOOT_S)
    finally:
        subprocess.run(["umount", directory / "root"], check=True)


@contextmanager
def _notified(path: Path) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as ready:
        ready.bind(str(path))
        ready.settimeout(BOOT_S)
        yield ready


def _leader(ready: socket.socket) -> int:
    """Its first process as we count, once that says that the machine has booted (sd_notify of systemd-nspawn)."""
    leader = 0
    while True:
        for line in ready.recv(4096).decode().splitlines():
            name, _, value = line.partition("=")
            leader = int(value) if name == "X_NSPAWN_LEADER_PID" else leader
            if line == "READY=1" and leader:
                return leader

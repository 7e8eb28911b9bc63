"""What runs in the guest: a program that writes checksummed records to a disk, and a beacon that counts.

Each record is one sector, written with fsync before its number is told over one TCP connection (an SSH session's).
"""

from __future__ import annotations

import hashlib
import os
import signal
import subprocess
import threading
from contextlib import suppress
from pathlib import Path

from godwit.lab.scenario import Scenario
from godwit.lab.traffic_process import piped
from godwit.lab.traffic_ssh import SSH_PORT, ssh_argv

SECTOR = 512
WRITER = (
    "i=$(({first}-1)); while :; do i=$((i+1)); set -- $(echo $i | md5sum); "
    "echo $i $1 | dd of=/dev/vda bs=512 seek=$i conv=notrunc,sync,fsync 2>/dev/null && echo $i; usleep 50000; done"
)
BEACON = "killall ping 2>/dev/null; (setsid ping -q -i 0.05 {to} </dev/null >/dev/null 2>&1 &); echo started"


class Writer:
    """One session that writes and tells; `last` is the last record that was acknowledged."""

    def __init__(self, node: tuple[str, ...], address: str, key: Path, *, first: int) -> None:
        self.first = first
        self.last = first - 1
        self.told = threading.Event()
        command = WRITER.format(first=first)
        self._process = piped([*node, *ssh_argv(address, SSH_PORT, key)[:-1], command])
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            if line.strip().isdigit():
                self.last = int(line)
                self.told.set()

    def is_alive(self, within_s: float) -> bool:
        """Another record is acknowledged on the same connection."""
        self.told.clear()
        return self.told.wait(within_s)

    def close(self) -> None:
        end(self._process)
        self._reader.join()
        with self._process:
            pass


def end(process: subprocess.Popen[bytes]) -> None:
    """It and what it started in its session are killed: a program within namespaces is a child of the one we know."""
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)


def start_beacon(node: tuple[str, ...], address: str, key: Path, *, to: str) -> None:
    """The guest pings that address, twenty times a second, each with the next number."""
    with piped([*node, *ssh_argv(address, SSH_PORT, key)[:-1], BEACON.format(to=to)]) as process:
        assert process.stdout is not None
        told = process.stdout.read(100)
        end(process)
    assert b"started" in told, "the beacon does not start"


def lost_records(disk: Path, first: int, last: int) -> int:
    """Of those acknowledged, how many are not on the disk as they were written."""
    with open(disk, "rb") as file:
        file.seek(first * SECTOR)
        data = file.read((last - first + 1) * SECTOR)
    return sum(
        not data[index * SECTOR :].startswith(record(number)) for index, number in enumerate(range(first, last + 1))
    )


def record(number: int) -> bytes:
    """As the guest's shell writes it."""
    return b"%d %s\n" % (number, hashlib.md5(b"%d\n" % number).hexdigest().encode())


def disk_path(lab: Scenario, vm: str) -> Path:
    """The file of its one disk, as every host and we see it."""
    return Path(lab.client.vm(vm).disks[0].path)

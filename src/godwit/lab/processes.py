"""Processes as /proc tells: who is alive, and what runs in which namespace."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from godwit.core.model import Fact

_PROC = Path("/proc")


class Identity(Fact):
    """One process for ever: a pid may be used again, but not with the same start."""

    pid: int
    start_ticks: int

    @property
    def is_alive(self) -> bool:
        """It exists and has not ended."""
        stat = _stat(self.pid)
        return stat is not None and stat.start_ticks == self.start_ticks and stat.state not in "ZX"


@dataclass(frozen=True)
class Process:
    """A process, with both its names."""

    pid: int
    """As we count."""
    inner_pid: int
    """As its own pid namespace counts."""
    parent_pid: int
    net: int
    """The inode of its network namespace."""
    argv: tuple[str, ...]


@dataclass(frozen=True)
class _Stat:
    state: str
    parent_pid: int
    start_ticks: int


def identify(pid: int) -> Identity | None:
    """None: there is no such process."""
    stat = _stat(pid)
    return Identity(pid=pid, start_ticks=stat.start_ticks) if stat else None


def own_outer_identity() -> Identity:
    """Ourselves as the /proc counts that is mounted here, which may be an outer one."""
    pid = int(os.readlink(_PROC / "self"))
    found = identify(pid)
    assert found is not None, "a running process finds itself"
    return found


def parent(identity: Identity) -> Identity | None:
    """Who started it, if it still lives."""
    stat = _stat(identity.pid)
    return identify(stat.parent_pid) if stat else None


def wait_gone(identities: list[Identity], timeout_s: float) -> bool:
    """They have all ended; false if some have not within that time."""
    deadline = time.monotonic() + timeout_s
    while any(each.is_alive for each in identities):
        if time.monotonic() > deadline:
            return False
        time.sleep(0.01)
    return True


def in_pid_namespace(init_pid: int) -> list[Process]:
    """Every process in the pid namespace whose init that is."""
    wanted = _namespace(init_pid, "pid")
    return [process for process in _all() if wanted and _namespace(process.pid, "pid") == wanted]


def _all() -> Iterator[Process]:
    for entry in _PROC.iterdir():
        if entry.name.isdigit():
            process = _read(int(entry.name))
            if process is not None:
                yield process


def _read(pid: int) -> Process | None:
    """None if it ended meanwhile."""
    try:
        status = (_PROC / str(pid) / "status").read_text()
        argv = (_PROC / str(pid) / "cmdline").read_bytes()
    except OSError:
        return None
    fields = dict(line.split(":", 1) for line in status.splitlines() if ":" in line)
    return Process(
        pid=pid,
        inner_pid=int(fields["NSpid"].split()[-1]),
        parent_pid=int(fields["PPid"]),
        net=_namespace(pid, "net"),
        argv=tuple(argv.decode(errors="replace").rstrip("\0").split("\0")),
    )


def _namespace(pid: int, kind: str) -> int:
    """Its inode; 0 where we may not look or the process has ended."""
    try:
        return os.stat(_PROC / str(pid) / "ns" / kind).st_ino
    except OSError:
        return 0


def _stat(pid: int) -> _Stat | None:
    try:
        text = (_PROC / str(pid) / "stat").read_text()
    except OSError:
        return None
    fields = text.rpartition(")")[2].split()
    return _Stat(state=fields[0], parent_pid=int(fields[1]), start_ticks=int(fields[19]))

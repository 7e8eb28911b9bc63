"""A node is a tiny process that holds namespaces of its own; others enter them through its process id."""

from __future__ import annotations

import os
import signal
import socket
from collections.abc import Callable, Collection
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

from godwit.core.errors import Failed
from godwit.lab import namespaces

_KINDS = ("net", "uts", "mnt")
"""The order in which they are entered: the mount namespace last, because it changes what a path means."""


@dataclass
class Held:
    """A node's namespaces; they live as long as we do, even while its holder is dead."""

    name: str
    pid: int
    """The holder's, as the lab counts."""
    handles: tuple[int, ...]

    @property
    def prefix(self) -> list[str]:
        """The words before a command that make it run in this node, used from inside the lab."""
        return ["nsenter", "--target", str(self.pid), "--net", "--uts", "--mount", "--"]


def hold(name: str, keep: Collection[Path]) -> Held:
    """A new node: its own network, host name and /run, with the directories to keep still visible."""

    def make() -> None:
        namespaces.unshare(namespaces.CLONE_NEWNET | namespaces.CLONE_NEWUTS | namespaces.CLONE_NEWNS)
        socket.sethostname(name)
        namespaces.mount_private_run(keep)
        namespaces.mount_own_sysfs()

    pid = _fork(name, make)
    return Held(name, pid, tuple(os.open(f"/proc/{pid}/ns/{kind}", os.O_RDONLY) for kind in _KINDS))


def revive(node: Held) -> None:
    """The node, whose holder died, has a new one in the same namespaces."""

    def join() -> None:
        for handle in node.handles:
            namespaces.enter(handle)

    node.pid = _fork(node.name, join)


def _fork(name: str, settle: Callable[[], None]) -> int:
    """A child that did `settle` and then only waits; `Failed` with its reason if it could not."""
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(reader)
        _hold_still(name, settle, writer)
    os.close(writer)
    with os.fdopen(reader, "rb") as pipe:
        answer = pipe.read().decode(errors="replace")
    if answer != "held":
        raise Failed(f"the lab's node {name} cannot be made: {answer or 'its holder died'}")
    return pid


def _hold_still(name: str, settle: Callable[[], None], writer: int) -> NoReturn:
    """Never returns into the parent's program."""
    signal.set_wakeup_fd(-1)
    for number in (signal.SIGTERM, signal.SIGCHLD):
        signal.signal(number, signal.SIG_DFL)
    try:
        namespaces.rename_process(name)
        settle()
        os.write(writer, b"held")
        os.close(writer)
        while True:
            signal.pause()
    except OSError as error:
        os.write(writer, str(error.strerror).encode())
    finally:
        os._exit(1)

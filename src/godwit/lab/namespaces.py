"""The kernel's namespaces: what Python 3.11 has no call for."""

from __future__ import annotations

import ctypes
import os
from collections.abc import Collection
from pathlib import Path

_MS_BIND_RECURSIVE = 0x1000 | 0x4000
_PR_SET_NAME = 15
CLONE_NEWNS = 0x00020000
CLONE_NEWUTS = 0x04000000
CLONE_NEWNET = 0x40000000

_libc = ctypes.CDLL(None, use_errno=True)


def unshare(flags: int) -> None:
    """The calling process has new namespaces of those kinds."""
    _call(_libc.unshare(flags), "unshare")


def enter(descriptor: int) -> None:
    """The calling process is in the namespace behind that descriptor."""
    _call(_libc.setns(descriptor, 0), "setns")


def rename_process(name: str) -> None:
    """`ps -c`, `top` and `pstree` show the calling process by that name, cut to 15 bytes."""
    _call(_libc.prctl(_PR_SET_NAME, name.encode(), 0, 0, 0), "prctl")


def mount(kind: str, place: Path, options: str = "") -> None:
    """A new file system of that kind covers the place."""
    done = _libc.mount(kind.encode(), os.fsencode(place), kind.encode(), 0, options.encode())
    _call(done, f"mount {kind} at {place}")


def mount_private_run(keep: Collection[Path]) -> None:
    """/run is an empty file system of this mount namespace, but for the directories to keep, which stay the same."""
    kept = {path: os.open(path, os.O_PATH | os.O_DIRECTORY) for path in keep if _lies_in_run(path)}
    mount("tmpfs", Path("/run"), "mode=755")
    for path, descriptor in sorted(kept.items()):
        path.mkdir(parents=True, exist_ok=True)
        _bind(descriptor, path)
        os.close(descriptor)
    Path("/run/lock").mkdir(exist_ok=True)


def mount_own_sysfs() -> None:
    """/sys shows this network namespace, where the kernel lets us; netlink shows the same everywhere.

    Inside some containers a part of /sys is hidden, and then it may not be mounted anew.
    """
    try:
        mount("sysfs", Path("/sys"))
    except OSError:
        return


def _lies_in_run(path: Path) -> bool:
    return path.is_dir() and path.resolve().is_relative_to("/run")


def _bind(descriptor: int, place: Path) -> None:
    origin = f"/proc/self/fd/{descriptor}".encode()
    _call(_libc.mount(origin, os.fsencode(place), None, _MS_BIND_RECURSIVE, None), f"bind {place}")


def _call(result: int, what: str) -> None:
    if result != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{what}: {os.strerror(number)}")

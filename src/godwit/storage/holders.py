"""Who holds a disk: the programs of this host that have its file open; where there are none, it is another host's."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator
from contextlib import suppress
from pathlib import Path


def holders(path: Path, *, but: Collection[int] = ()) -> list[str]:
    """`QEMU of web, pid 7` for each; programs of others that we may not see are not named."""
    try:
        disk = path.stat()
    except OSError:
        return []
    same = (disk.st_dev, disk.st_ino)
    found = (each for each in Path("/proc").iterdir() if each.name.isdigit() and int(each.name) not in but)
    names = (_name(each) for each in found if same in set(_open_files(each)))
    return sorted(name for name in names if name)


def blame(path: Path, *, but: Collection[int] = ()) -> str:
    """One sentence for an alarm."""
    here = holders(path, but=but)
    who = " and ".join(here) if here else "no program on this host, so on another host that sees the same disk"
    return f"{path} is open in {who}"


def _open_files(process: Path) -> Iterator[tuple[int, int]]:
    with suppress(OSError):
        for handle in (process / "fd").iterdir():
            with suppress(OSError):
                opened = handle.stat()
                yield opened.st_dev, opened.st_ino


def _name(process: Path) -> str | None:
    """None: it has ended meanwhile."""
    try:
        words = (process / "cmdline").read_bytes().split(b"\0")
    except OSError:
        return None
    program = os.path.basename(words[0].decode(errors="replace"))
    if b"-name" in words[:-1] and "qemu" in program:
        vm = words[words.index(b"-name") + 1].decode().split(",")[0].removeprefix("guest=")
        program = f"the QEMU of {vm}"
    return f"{program}, pid {process.name}"

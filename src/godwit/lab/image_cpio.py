"""The archive that Linux unpacks at boot (cpio, "newc"), written without root: every file belongs to user 0."""

from __future__ import annotations

import stat
from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Entry:
    """A regular file, or (`mode` says which) a directory or a symbolic link, whose content is where it points."""

    content: bytes = b""
    mode: int = stat.S_IFREG | 0o644


def program(content: bytes) -> Entry:
    """A file that everybody may run."""
    return Entry(content, stat.S_IFREG | 0o755)


def link(to: str) -> Entry:
    """A symbolic link."""
    return Entry(to.encode(), stat.S_IFLNK | 0o777)


def directory(mode: int = 0o755) -> Entry:
    """An empty directory."""
    return Entry(mode=stat.S_IFDIR | mode)


def pack(entries: Mapping[str, Entry]) -> bytes:
    """The archive of these entries by path (without a leading slash); missing parent directories are added.

    The same entries always give the same bytes. The format is in the kernel's
    Documentation/driver-api/early-userspace/buffer-format.rst.
    """
    parents = {"/".join(path.split("/")[:depth]) for path in entries for depth in range(1, path.count("/") + 1)}
    complete = {**dict.fromkeys(parents, directory()), **entries}
    records = [_record(number, path, complete[path]) for number, path in enumerate(sorted(complete), start=1)]
    return b"".join(records) + _record(0, "TRAILER!!!", Entry(mode=0))


def _record(inode: int, path: str, entry: Entry) -> bytes:
    name = path.encode() + b"\0"
    fields = (inode, entry.mode, 0, 0, 1, 0, len(entry.content), 0, 0, 0, 0, len(name), 0)
    header = b"070701" + b"".join(b"%08X" % each for each in fields) + name
    return _padded(header) + _padded(entry.content)


def _padded(data: bytes) -> bytes:
    return data + bytes(-len(data) % 4)

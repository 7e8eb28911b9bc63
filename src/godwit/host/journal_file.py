"""A journal in a file: one line per record, each with its checksum, so that a torn write is seen and dropped.

While it is open, blanks follow the last line: room on the disk that the next records take without making the file
longer. To sync a file that got longer, a file system with a journal of its own commits that too: two writes, one after
the other, and with them what others have appended meanwhile.
"""

from __future__ import annotations

import os
from contextlib import suppress
from errno import ENOSPC
from pathlib import Path
from zlib import crc32

from pydantic import ValidationError

from godwit.core.errors import Broken, Failed
from godwit.core.ownership import Record

_ROOM_BYTES = 4096
"""At least this follows a record, enough for those of one hand-over: none of them makes the file longer."""
_BLANKS = b" " * 4 * _ROOM_BYTES


class JournalFile:
    """Append-only; implements `contract.journal.Journal`. One process writes it at a time."""

    def __init__(self, path: Path) -> None:
        """Opens or creates the file; `Broken` if a record before the end is damaged, for then nothing is certain."""
        self._path = path
        self._file: int | None = None
        self._size_bytes = 0
        text = path.read_bytes() if path.exists() else b""
        self._records, self._good_bytes = _read(text, path)

    def last(self) -> Record | None:
        """The newest whole record; a torn one at the end counts as never written."""
        return self._records[-1] if self._records else None

    def records(self) -> tuple[Record, ...]:
        """All whole records, oldest first."""
        return tuple(self._records)

    def append(self, record: Record, /, *, durable: bool) -> None:
        """The record is written; if `durable`, it also survives a power cut when this returns.

        After an error (disk full) it counts as never written, and the next append cuts off what is there of it.
        """
        line = _line(record)
        try:
            file = self._open()
            self._put(file, line)
            if durable:
                os.fdatasync(file)
        except OSError as error:
            self.close()
            raise Failed(
                f"{self._path} cannot be written: {error.strerror}; make room on that disk", "disk-full"
            ) from error
        self._good_bytes += len(line)
        self._records.append(record)

    def close(self) -> None:
        """The file is closed and ends with its last record; the next append opens it again."""
        if self._file is not None:
            with suppress(OSError):
                os.ftruncate(self._file, self._good_bytes)
            os.close(self._file)
            self._file = None

    def _put(self, file: int, line: bytes) -> None:
        end = self._good_bytes + len(line)
        text = line if end + _ROOM_BYTES <= self._size_bytes else line + _BLANKS
        if os.pwrite(file, text, self._good_bytes) != len(text):
            raise OSError(ENOSPC, os.strerror(ENOSPC))
        self._size_bytes = max(self._size_bytes, self._good_bytes + len(text))

    def _open(self) -> int:
        if self._file is None:
            is_new = not self._path.exists()
            self._file = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)
            os.ftruncate(self._file, self._good_bytes)
            self._size_bytes = self._good_bytes
            if is_new:
                _sync_directory(self._path.parent)
        return self._file


def _line(record: Record) -> bytes:
    body = record.model_dump_json().encode()
    return b"%08x %s\n" % (crc32(body), body)


def _read(text: bytes, path: Path) -> tuple[list[Record], int]:
    """The whole records, and how many bytes they fill."""
    lines = text.split(b"\n")
    records = [_parse(line, path) for line in lines[:-1]]
    good = len(records)
    while good and records[good - 1] is None:
        good -= 1
    whole = [record for record in records[:good] if record is not None]
    if len(whole) != good:
        raise Broken(f"{path} is damaged before its end: nobody can say who owns the VM; compare it with its peer's")
    return whole, sum(len(line) + 1 for line in lines[:good])


def _parse(line: bytes, path: Path) -> Record | None:
    """None: damaged. A whole record that we cannot read is not damage, and never dropped: `Broken`."""
    checksum, _, body = line.partition(b" ")
    if checksum != b"%08x" % crc32(body):
        return None
    try:
        return Record.model_validate_json(body)
    except ValidationError as error:
        raise Broken(f"{path} holds a record that this version cannot read; start the newer agent again") from error


def _sync_directory(directory: Path) -> None:
    handle = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)

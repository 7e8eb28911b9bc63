"""Reads a disk as its guest would, whatever holds it: a client of QEMU's NBD server, for checksums.

Blocking: run it in a thread. Protocol: NetworkBlockDevice/nbd, doc/proto.md, fixed newstyle with structured replies,
by which the server tells of holes instead of sending zeros.
"""

from __future__ import annotations

import hashlib
import socket
import struct
from pathlib import Path

from godwit.core.errors import Failed
from godwit.core.model import MIB

BLOCK_BYTES = MIB
"""What is hashed, or skipped if it is zeros, at once."""

_READ_BYTES = 16 * MIB
"""A request; QEMU's server takes 32 MiB at most."""
_ZEROS = bytes(BLOCK_BYTES)
_SILENCE_S = 60.0

_GREETING = b"NBDMAGICIHAVEOPT"
_OPTION = struct.Struct(">8sII")
_ANSWER = struct.Struct(">QIII")
_REQUEST = struct.Struct(">IHHQQI")
_CHUNK = struct.Struct(">IHHQI")
_FLAGS_FIXED_NO_ZEROES = 3
_GO, _STRUCTURED = 7, 8
_ACK, _INFO = 1, 3
_READ, _DISCONNECT = 0, 2
_DONE, _DATA, _HOLE, _NONE = 1, 1, 2, 0


def digest(server: Path, export: str) -> str:
    """SHA-256 over the blocks that are not zeros, each with its place: equal for equal disks, however they are kept."""
    found = hashlib.sha256()
    with _Client(server, export) as disk:
        found.update(b"%d" % disk.size_bytes)
        for offset in range(0, disk.size_bytes, _READ_BYTES):
            content = disk.read(offset, min(_READ_BYTES, disk.size_bytes - offset))
            if content is None:
                continue
            for at in range(0, len(content), BLOCK_BYTES):
                block = content[at : at + BLOCK_BYTES]
                if block != _ZEROS[: len(block)]:
                    found.update(b"%d:" % (offset + at))
                    found.update(block)
    return found.hexdigest()


class _Client:
    def __init__(self, server: Path, export: str) -> None:
        self._line = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            self._line.settimeout(_SILENCE_S)
            self._line.connect(str(server))
            self.size_bytes = self._go(export.encode())
        except BaseException as error:
            self._line.close()
            if isinstance(error, OSError):
                raise Failed(f"the storage daemon at {server} cannot be read: {error}") from error
            raise

    def __enter__(self) -> _Client:
        return self

    def __exit__(self, *_: object) -> None:
        self._line.close()

    def read(self, offset: int, size: int) -> memoryview | None:
        """What is there; none: zeros."""
        content: bytearray | None = None
        self._line.sendall(_REQUEST.pack(0x25609513, 0, _READ, 0, offset, size))
        while True:
            _, flags, kind, _, length = _CHUNK.unpack(self._take(_CHUNK.size))
            if kind == _DATA:
                at = int.from_bytes(self._take(8), "big") - offset
                content = content or bytearray(size)
                self._take_into(memoryview(content)[at : at + length - 8])
            elif kind not in {_HOLE, _NONE}:
                reason = self._take(length)[6:].decode(errors="replace")
                raise Failed(f"a disk cannot be read at {offset}: {reason or 'its storage gives no reason'}")
            else:
                self._take(length)
            if flags & _DONE:
                return None if content is None else memoryview(content)

    def _go(self, export: bytes) -> int:
        """The export is open, and as large as that."""
        if not self._take(18).startswith(_GREETING):
            raise Failed("what answers there is no NBD server")
        self._line.sendall(_FLAGS_FIXED_NO_ZEROES.to_bytes(4, "big"))
        self._ask(_STRUCTURED, b"")
        told = self._ask(_GO, struct.pack(">I", len(export)) + export + bytes(2))
        return int.from_bytes(told[2:10], "big")

    def _ask(self, option: int, words: bytes) -> bytes:
        """What came before the server agreed."""
        self._line.sendall(_OPTION.pack(b"IHAVEOPT", option, len(words)) + words)
        told = b""
        while True:
            _, _, kind, length = _ANSWER.unpack(self._take(_ANSWER.size))
            content = self._take(length)
            if kind == _ACK:
                return told
            if kind != _INFO:
                raise Failed(f"the NBD server refuses: {content.decode(errors='replace')}")
            told = content if content[:2] == b"\0\0" else told

    def _take(self, size: int) -> bytes:
        content = bytearray(size)
        self._take_into(memoryview(content))
        return bytes(content)

    def _take_into(self, place: memoryview) -> None:
        while place:
            got = self._line.recv_into(place)
            if not got:
                raise Failed("the NBD server ended the connection: see the storage daemon's log")
            place = place[got:]

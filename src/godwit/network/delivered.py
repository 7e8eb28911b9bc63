"""The frames that lie in a guest's memory because its network card has put them there: those were delivered.

virtio's card (virtio 1.2, 2.7) writes each frame into buffers that the guest has offered, then their numbers into the
ring of used ones. Nothing but what was delivered ever gets there: what QEMU has read and holds back is in QEMU's own
memory. So a frame that is found was delivered; one that is not may have been, and the guest used its buffer again.
"""

from __future__ import annotations

import errno
import os
import struct
from collections.abc import Callable
from contextlib import suppress
from typing import Protocol

HEADER_BYTES = 12
"""Of the virtio-net header before each frame (virtio 1.2, 5.1.6)."""
HEAD_BYTES = 128
BUFFERS = 64
"""A frame of 64 KiB takes up to 44."""
_DESCRIPTOR = struct.Struct("<QIHH")
_USED = struct.Struct("<II")
_INDEX_AT, _USED_AT = 2, 4
_HIGH, _END = 1 << 32, 1 << 63


class Ring(Protocol):
    """Where that queue is, in the guest's addresses, and where QEMU has the guest's memory: see `qemu.receive_ring`."""

    @property
    def size(self) -> int: ...
    @property
    def descriptors_at(self) -> int: ...
    @property
    def used_at(self) -> int: ...
    @property
    def low_at(self) -> int: ...
    @property
    def high_at(self) -> int | None: ...


class Delivered:
    """Looks into the memory of a guest within its QEMU, at one card's receive queue."""

    def __init__(self, qemu_pid: int, ring: Ring) -> None:
        """`OSError` without the right to look."""
        self._ring = ring
        self._fd = os.open(f"/proc/{qemu_pid}/mem", os.O_RDONLY | os.O_CLOEXEC)

    def heads(self) -> list[bytes]:
        """How the last buffers begin that the card has filled, the newest first, without the virtio-net header.

        None where the guest has no such queue any more.
        """
        with suppress(OSError, struct.error):
            return heads(self._read, self._ring)
        return []

    def close(self) -> None:
        """Gives the descriptor back."""
        os.close(self._fd)

    def _read(self, address: int, size: int) -> bytes:
        base = self._ring.low_at if address < _HIGH else self._ring.high_at
        if base is None or base + address + size >= _END:
            raise OSError(errno.EFAULT, "there is no such memory")
        return os.pread(self._fd, size, base + address)


def heads(read: Callable[[int, int], bytes], ring: Ring) -> list[bytes]:
    """The same, given how to read so many bytes at an address of the guest."""
    used = read(ring.used_at, _USED_AT + _USED.size * ring.size)
    descriptors = read(ring.descriptors_at, _DESCRIPTOR.size * ring.size)
    newest = int.from_bytes(used[_INDEX_AT:_USED_AT], "little")
    found = []
    for place in range(newest - 1, newest - 1 - min(BUFFERS, ring.size), -1):
        number, _ = _USED.unpack_from(used, _USED_AT + _USED.size * (place % ring.size))
        address, *_ = _DESCRIPTOR.unpack_from(descriptors, _DESCRIPTOR.size * (number % ring.size))
        with suppress(OSError):
            found.append(read(address + HEADER_BYTES, HEAD_BYTES))
    return found

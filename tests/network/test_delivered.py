"""What a guest's receive queue tells, out of a memory made by hand, and out of a process's."""

from __future__ import annotations

import ctypes
import os
import struct
from collections.abc import Callable
from dataclasses import dataclass

from godwit.network.delivered import BUFFERS, HEAD_BYTES, HEADER_BYTES, Delivered, heads


@dataclass(frozen=True)
class Ring:
    size: int = 128
    descriptors_at: int = 0x1000
    used_at: int = 0x2000
    low_at: int = 0
    high_at: int | None = None


RING = Ring()
FIRST_BUFFER_AT, BUFFER_BYTES = 0x4000, 256


def guest(count: int) -> bytes:
    """A guest whose card has filled that many buffers since it was started, last to first, each with its number."""
    memory = bytearray(0x4000 + RING.size * BUFFER_BYTES)
    for number in range(RING.size):
        at = FIRST_BUFFER_AT + number * BUFFER_BYTES
        struct.pack_into("<QIHH", memory, RING.descriptors_at + 16 * number, at, BUFFER_BYTES, 2, 0)
    struct.pack_into("<HH", memory, RING.used_at, 0, count % 2**16)
    for each in range(count):
        number = RING.size - 1 - each % RING.size
        struct.pack_into("<II", memory, RING.used_at + 4 + 8 * (each % RING.size), number, 100)
        struct.pack_into("<12xI", memory, FIRST_BUFFER_AT + number * BUFFER_BYTES, each)
    return bytes(memory)


def numbers(found: list[bytes]) -> list[int]:
    assert {len(each) for each in found} == {HEAD_BYTES}
    return [struct.unpack_from("<I", each)[0] for each in found]


def reading(memory: bytes) -> Callable[[int, int], bytes]:
    return lambda address, size: memory[address : address + size]


def test_the_newest_first() -> None:
    for count in (BUFFERS, RING.size, 2**16 + 5):
        found = heads(reading(guest(count)), RING)
        assert numbers(found) == [count - 1 - back for back in range(BUFFERS)]


def test_buffers_that_cannot_be_read_are_left_out() -> None:
    memory = guest(BUFFERS)

    def read(address: int, size: int) -> bytes:
        if address == FIRST_BUFFER_AT + 127 * BUFFER_BYTES + HEADER_BYTES:
            raise OSError
        return memory[address : address + size]

    assert numbers(heads(read, RING)) == list(range(BUFFERS - 1, 0, -1))


def test_in_a_process() -> None:
    memory = ctypes.create_string_buffer(guest(200))
    found = Delivered(os.getpid(), Ring(low_at=ctypes.addressof(memory)))
    assert numbers(found.heads()) == list(range(199, 199 - BUFFERS, -1))
    found.close()
    for nowhere in (Ring(low_at=0), Ring(used_at=1 << 33), Ring(used_at=2**64 - 8), Ring(low_at=2**63)):
        absent = Delivered(os.getpid(), nowhere)
        assert absent.heads() == []
        absent.close()

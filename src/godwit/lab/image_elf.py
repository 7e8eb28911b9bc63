"""What a program or a kernel module asks for, read from its ELF file."""

from __future__ import annotations

import struct

_DYNAMIC, _INTERPRETER = 2, 3  # program header types
_NEEDED, _STRING_TABLE = 1, 5  # tags in the dynamic section


def needed_libraries(elf: bytes) -> tuple[str, ...]:
    """The file names of the libraries and of the loader that a 64-bit little-endian ELF file names, in its order.

    Empty for a static program and for what is no such ELF file (a script).
    """
    if elf[:6] != b"\x7fELF\x02\x01":
        return ()
    segments = _segments(elf)
    loader = [_text(elf, offset) for kind, offset, *_ in segments if kind == _INTERPRETER]
    tags = [
        pair
        for kind, offset, _, size in segments
        if kind == _DYNAMIC
        for pair in struct.iter_unpack("<qQ", elf[offset : offset + size])
    ]
    strings = next((_file_offset(segments, value) for tag, value in tags if tag == _STRING_TABLE), 0)
    libraries = [_text(elf, strings + value) for tag, value in tags if tag == _NEEDED]
    return tuple(path.rpartition("/")[2] for path in (*libraries, *loader))


def module_dependencies(module: bytes) -> tuple[str, ...]:
    """The names of the kernel modules that must be there before this one (what modinfo calls depends)."""
    _, found, rest = module.partition(b"\0depends=")
    names = rest.partition(b"\0")[0].decode() if found else ""
    return tuple(name for name in names.split(",") if name)


def _segments(elf: bytes) -> list[tuple[int, int, int, int]]:
    """(type, file offset, address, size in the file) of each program header."""
    start, entry_size, count = *struct.unpack_from("<Q", elf, 0x20), *struct.unpack_from("<HH", elf, 0x36)
    headers = (struct.unpack_from("<IIQQQQ", elf, start + entry_size * each) for each in range(count))
    return [(kind, offset, address, size) for kind, _, offset, address, _, size in headers]


def _file_offset(segments: list[tuple[int, int, int, int]], address: int) -> int:
    return next(address - base + offset for _, offset, base, size in segments if base <= address < base + size)


def _text(elf: bytes, offset: int) -> str:
    return elf[offset : elf.index(b"\0", offset)].decode()

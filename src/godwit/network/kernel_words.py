"""Questions and orders to the kernel in bytes, where pyroute2 has no words: multicast groups, tracked connections."""

from __future__ import annotations

import socket
import struct
from collections.abc import Iterable, Iterator, Sequence

from godwit.network.netlink import refused

ROUTE, NETFILTER = 0, 12
"""The parts of the kernel that are spoken to."""
NESTED = 0x8000

_HEADER = struct.Struct("=IHHII")
_REQUEST, _ACK, _DUMP = 0x1, 0x4, 0x300
_ERROR, _DONE = 2, 3
_AT_ONCE = 64
"""Orders whose acknowledgements fit into a socket's buffer."""
_RECEIVE_BYTES = 1 << 18
_ANSWER_S = 5.0


def ask(family: int, kind: int, body: bytes) -> list[bytes]:
    """What each message of the kernel's answer says; `Failed` if it will not tell."""
    with _opened(family) as kernel:
        try:
            kernel.send(_message(kind, _DUMP, body, 1))
            return list(_answers(kernel))
        except OSError as error:
            raise refused("asking the kernel", error.errno or 0) from error


def order(family: int, kind: int, flags: int, bodies: Sequence[bytes]) -> list[int]:
    """Each was tried, in this order; an error number for each, 0 where the kernel agreed."""
    codes: list[int] = []
    with _opened(family) as kernel:
        try:
            for first in range(0, len(bodies), _AT_ONCE):
                some = bodies[first : first + _AT_ONCE]
                kernel.send(b"".join(_message(kind, _ACK | flags, body, n) for n, body in enumerate(some, 1)))
                until = len(codes) + len(some)
                while len(codes) < until:
                    codes += [code for what, code, _ in _parts(kernel.recv(_RECEIVE_BYTES)) if what == _ERROR]
        except OSError as error:
            raise refused("telling the kernel", error.errno or 0) from error
    return codes


def attributes(data: bytes) -> Iterator[tuple[int, bytes]]:
    """Each attribute's type and what it holds."""
    offset = 0
    while offset + 4 <= len(data):
        length, kind = struct.unpack_from("=HH", data, offset)
        if length < 4:
            return
        yield kind & ~NESTED, data[offset + 4 : offset + length]
        offset += length + -length % 4


def attribute(kind: int, value: bytes) -> bytes:
    """One attribute."""
    return struct.pack("=HH", 4 + len(value), kind) + value + bytes(-len(value) % 4)


def nested(kind: int, parts: Iterable[bytes]) -> bytes:
    """One attribute that holds others."""
    return attribute(kind | NESTED, b"".join(parts))


def _opened(family: int) -> socket.socket:
    try:
        kernel = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, family)
        kernel.settimeout(_ANSWER_S)
        kernel.bind((0, 0))
    except OSError as error:
        raise refused("speaking to the kernel", error.errno or 0) from error
    return kernel


def _message(kind: int, flags: int, body: bytes, number: int) -> bytes:
    length = _HEADER.size + len(body)
    return _HEADER.pack(length, kind, _REQUEST | flags, number, 0) + body + bytes(-length % 4)


def _answers(kernel: socket.socket) -> Iterator[bytes]:
    while True:
        for what, code, body in _parts(kernel.recv(_RECEIVE_BYTES)):
            if code:
                raise OSError(code, "refused")
            if what in (_DONE, _ERROR):
                return
            yield body


def _parts(data: bytes) -> Iterator[tuple[int, int, bytes]]:
    """Each message's type, its error number if it is an acknowledgement or an end, and its body."""
    offset = 0
    while offset < len(data):
        length, kind, *_ = _HEADER.unpack_from(data, offset)
        body = data[offset + _HEADER.size : offset + length]
        code = -struct.unpack_from("=i", body)[0] if kind in (_ERROR, _DONE) and len(body) >= 4 else 0
        yield kind, code, body
        offset += length + -length % 4

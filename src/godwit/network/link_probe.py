"""How much the migration network carries between two hosts: bytes sent for a tenth of a second, counted at arrival.

Short, so that nobody else on the link suffers; over TCP, because that is what memory goes by. Plain threads and plain
sockets: the agent's loop has nothing to do with it.
"""

from __future__ import annotations

import contextlib
import secrets
import socket
import struct
import threading
import time
from typing import NamedTuple

SEND_S = 0.1
PATIENCE_S = 1.0
"""For a connection that does not come, or an answer."""
_BLOCK_BYTES = 256 * 1024
_SKIPPED = 0.3
"""Of the time: TCP is still finding its speed."""
_TOKEN_BYTES = 16
_ANSWER = struct.Struct("!dQ")
_WORD = struct.Struct("I")
_RTT_AT, _TOTAL_RETRANS_AT, _MIN_RTT_AT, _DATA_SEGS_OUT_AT = 68, 100, 148, 156
"""In struct tcp_info (include/uapi/linux/tcp.h); there since Linux 4.6. The round trip is in microseconds."""
_ENOUGH = 1000
"""Segments, to speak of a share of them; a link that carries fewer is slow, and that is told."""
_QUEUED_US = 10_000
"""Longer round trips than the shortest one mean a queue; TCP finds its speed by making the slowest one overflow."""


class Probed(NamedTuple):
    """What was found."""

    bytes_per_s: int
    rtt_ms: float
    resent: float = 0.0
    """The share of what was sent, when TCP had found its speed, that had to be sent again; 0 if a queue overflowed."""


UNKNOWN = Probed(0, 0.0)


def open_sink(address: str) -> tuple[int, str]:
    """A port there takes one connection and counts what comes, for a second at most; the token that must come first."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    server = socket.create_server((address, 0), family=family, backlog=1)
    server.settimeout(PATIENCE_S)
    token = secrets.token_bytes(_TOKEN_BYTES)
    threading.Thread(target=_serve, args=(server, token), name="link probe", daemon=True).start()
    return int(server.getsockname()[1]), token.hex()


def _serve(server: socket.socket, token: bytes) -> None:
    with server, contextlib.suppress(OSError):
        stream = server.accept()[0]
        with stream:
            stream.settimeout(PATIENCE_S)
            if secrets.compare_digest(stream.recv(_TOKEN_BYTES, socket.MSG_WAITALL), token):
                stream.sendall(_ANSWER.pack(*_counted(stream)))


def _counted(stream: socket.socket) -> tuple[float, int]:
    """Seconds and bytes, the first part left out, until the sender ends or takes too long."""
    buffer = bytearray(_BLOCK_BYTES)
    began = time.monotonic()
    skipped_until, since, counted, last = began + SEND_S * _SKIPPED, 0.0, 0, began
    while last - began < PATIENCE_S and (size := stream.recv_into(buffer)):
        last = time.monotonic()
        if since:
            counted += size
        elif last >= skipped_until:
            since = last
    return max(last - since, 0.0) if since else 0.0, counted


def probe(address: str, port: int, token: str) -> Probed:
    """Sends to that sink for a tenth of a second; zeros if it does not answer."""
    with contextlib.suppress(OSError, struct.error), socket.create_connection((address, port), PATIENCE_S) as stream:
        stream.sendall(bytes.fromhex(token))
        block, begun = bytes(_BLOCK_BYTES), time.monotonic()
        before = None
        while (now := time.monotonic()) < begun + SEND_S:
            if before is None and now >= begun + SEND_S * _SKIPPED:
                before = _sent(stream)
            stream.sendall(block)
        stream.shutdown(socket.SHUT_WR)
        seconds, counted = _ANSWER.unpack(stream.recv(_ANSWER.size, socket.MSG_WAITALL))
        rate = int(counted / seconds) if seconds else 0
        shortest_us, last_us = _told(stream, _MIN_RTT_AT), _told(stream, _RTT_AT)
        is_known = before is not None and last_us < shortest_us + _QUEUED_US
        return Probed(rate, shortest_us / 1000, _share(before or (0, 0), _sent(stream)) if is_known else 0.0)
    return UNKNOWN


def _sent(stream: socket.socket) -> tuple[int, int]:
    """Segments with data, and those of them that went out again."""
    return _told(stream, _DATA_SEGS_OUT_AT), _told(stream, _TOTAL_RETRANS_AT)


def _share(before: tuple[int, int], after: tuple[int, int]) -> float:
    sent, again = (late - early for early, late in zip(before, after, strict=True))
    return again / sent if sent >= _ENOUGH else 0.0


def _told(stream: socket.socket, at: int) -> int:
    """A number that the kernel keeps of the connection; 0: this kernel does not."""
    told = stream.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, at + _WORD.size)
    return int(_WORD.unpack_from(told, at)[0]) if len(told) > at else 0

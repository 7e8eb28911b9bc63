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
_MIN_RTT = struct.Struct("I")
_MIN_RTT_AT = 148
"""tcpi_min_rtt in struct tcp_info (include/uapi/linux/tcp.h), microseconds; there since Linux 4.6."""


class Probed(NamedTuple):
    """What was found."""

    bytes_per_s: int
    rtt_ms: float


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
        block, end = bytes(_BLOCK_BYTES), time.monotonic() + SEND_S
        while time.monotonic() < end:
            stream.sendall(block)
        stream.shutdown(socket.SHUT_WR)
        seconds, counted = _ANSWER.unpack(stream.recv(_ANSWER.size, socket.MSG_WAITALL))
        return Probed(int(counted / seconds) if seconds else 0, _min_rtt_ms(stream))
    return Probed(0, 0.0)


def _min_rtt_ms(stream: socket.socket) -> float:
    told = stream.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _MIN_RTT_AT + _MIN_RTT.size)
    return float(_MIN_RTT.unpack_from(told, _MIN_RTT_AT)[0]) / 1000 if len(told) > _MIN_RTT_AT else 0.0

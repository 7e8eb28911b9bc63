"""What the kernel tells about a TCP connection, also about one that another process of ours holds."""

from __future__ import annotations

import contextlib
import ctypes
import os
import socket
import struct
from pathlib import Path
from typing import Protocol

from godwit.lab.traffic_result import TcpCounters

TOTAL_RETRANS_OFFSET = 100
DSACK_DUPS_OFFSET = 216
"""In struct tcp_info (linux/tcp.h): eight bytes, then 32-bit numbers; it only ever grows at its end."""

SYS_PIDFD_GETFD = 438
"""The same on every architecture (Linux 5.6)."""


class Options(Protocol):
    """A socket, or asyncio's view of one."""

    def getsockopt(self, level: int, option: int, size: int, /) -> bytes:
        """As socket.socket has it."""
        ...


def counters_of(connection: Options) -> TcpCounters:
    """How often this end of the connection sent something again; `OSError` when it is closed."""
    info = connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 256)
    return TcpCounters(
        retransmissions=_number(info, TOTAL_RETRANS_OFFSET),
        spurious_retransmissions=_number(info, DSACK_DUPS_OFFSET),
    )


def congestion_control_of(connection: Options) -> str:
    """The name of the algorithm, such as `cubic`."""
    name = connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_CONGESTION, 16)
    return name.split(b"\0")[0].decode()


def connection_of(pid: int) -> socket.socket | None:
    """A copy of the first TCP connection that this process has open; none if it has none or may not be looked into."""
    with contextlib.suppress(OSError):
        pidfd = os.pidfd_open(pid)
        try:
            numbers = sorted(int(each.name) for each in Path(f"/proc/{pid}/fd").iterdir())
            return next(filter(None, (_tcp_copy(pidfd, number) for number in numbers)), None)
        finally:
            os.close(pidfd)
    return None


def _tcp_copy(pidfd: int, number: int) -> socket.socket | None:
    copied = ctypes.CDLL(None, use_errno=True).syscall(SYS_PIDFD_GETFD, pidfd, number, 0)
    if copied < 0:
        return None
    try:
        found = socket.socket(fileno=copied)
    except OSError:
        os.close(copied)
        return None
    if found.family in (socket.AF_INET, socket.AF_INET6) and found.type == socket.SOCK_STREAM:
        return found
    found.close()
    return None


def _number(info: bytes, offset: int) -> int:
    return int(struct.unpack_from("=I", info, offset)[0]) if len(info) >= offset + 4 else 0

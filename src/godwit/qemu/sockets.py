"""QEMU's own sockets of the memory stream: kept from hoarding what the last bytes would have to wait behind.

QEMU writes as fast as socket buffers take it, so megabytes lie in the kernel when the vCPUs stop, and the device
state queues up behind them: 35 ms and more at 1 Gbit/s. A limit on what is not yet sent (TCP_NOTSENT_LOWAT) keeps
that queue short without slowing the stream; TCP_NODELAY sends the last segment at once.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
from collections.abc import Iterator

from godwit.core.errors import Failed
from godwit.host.process import fetch_fd

UNSENT_BYTES = 128 * 1024
"""About a millisecond at 1 Gbit/s."""
_TCP_NOTSENT_LOWAT = 25
_TCP_INFO_BYTES = 192
_BYTES_RECEIVED = 128
"""Of `tcpi_bytes_received` in struct tcp_info (linux/tcp.h)."""


async def keep_short(pid: int, uri: str) -> int:
    """Every connection of that QEMU to the uri's port has a short queue; returns how many there were."""
    return await asyncio.to_thread(_keep_short, pid, int(uri.rpartition(":")[2]))


async def received_bytes(pid: int, uri: str) -> int:
    """What has come in by the connections to the uri's port, on which that QEMU listens; 0: nobody has connected."""
    return await asyncio.to_thread(_received_bytes, pid, int(uri.rpartition(":")[2]))


def _received_bytes(pid: int, port: int) -> int:
    count = 0
    for stream in _streams(pid):
        with stream:
            if _peer_port(stream) is not None and stream.getsockname()[1] == port:
                told = stream.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _TCP_INFO_BYTES)
                count += 1 + int.from_bytes(told[_BYTES_RECEIVED : _BYTES_RECEIVED + 8], "little")
    return count


def _keep_short(pid: int, port: int) -> int:
    count = 0
    for stream in _streams(pid):
        with stream:
            if _peer_port(stream) == port:
                stream.setsockopt(socket.IPPROTO_TCP, _TCP_NOTSENT_LOWAT, UNSENT_BYTES)
                stream.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                count += 1
    return count


def _streams(pid: int) -> Iterator[socket.socket]:
    """Our own handles of the sockets that the process has open."""
    for name in os.listdir(f"/proc/{pid}/fd"):
        with contextlib.suppress(OSError, Failed):  # closed meanwhile
            if os.readlink(f"/proc/{pid}/fd/{name}").startswith("socket:"):
                yield socket.socket(fileno=fetch_fd(pid, int(name)))


def _peer_port(stream: socket.socket) -> int | None:
    if stream.family not in {socket.AF_INET, socket.AF_INET6}:
        return None
    with contextlib.suppress(OSError):
        port: int = stream.getpeername()[1]
        return port
    return None

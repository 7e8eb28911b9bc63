"""QEMU's own sockets of the memory stream: kept from hoarding what the last bytes would have to wait behind.

QEMU writes as fast as socket buffers take it, so megabytes lie in the kernel when the vCPUs stop, and the device
state queues up behind them: 35 ms and more at 1 Gbit/s. A limit on what is not yet sent (TCP_NOTSENT_LOWAT) keeps
that queue short without slowing the stream; TCP_NODELAY sends the last segment at once. Small buffers at both ends
keep short what is under way or not yet read, which a busy destination would otherwise pile up: on a busy machine with
a fast link the blackout was 143 ms at the median without them, 9 ms with them. Over a fast link very small ones make
sender and receiver wait for each other, so they are as large as the link asks for, within bounds (core/plan.py).
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os
import socket
import sys
import termios
from collections.abc import Iterator

from godwit.core.errors import Failed
from godwit.host.process import fetch_fd

UNSENT_BYTES = 128 * 1024
"""About a millisecond at 1 Gbit/s; of larger buffers half, so that a fast link is kept busy."""
_SO_SNDBUFFORCE, _SO_RCVBUFFORCE = 32, 33
"""As SO_SNDBUF and SO_RCVBUF, beyond the usual limit of the system (net.core.rmem_max); only for root."""
_TCP_NOTSENT_LOWAT = 25
_TCP_INFO_BYTES = 192
_BYTES_RECEIVED = 128
"""Of `tcpi_bytes_received` in struct tcp_info (linux/tcp.h)."""
_INTERNET = {socket.AF_INET, socket.AF_INET6}


async def keep_short(pid: int, uri: str, *, buffer_bytes: int | None) -> int:
    """Every connection of that QEMU to the uri's port has a short queue; returns how many there were.

    None: the buffers are left to the kernel, for a peer that is far and needs more under way.
    """
    return await asyncio.to_thread(_keep_short, pid, int(uri.rpartition(":")[2]), buffer_bytes)


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


def _keep_short(pid: int, port: int, buffer_bytes: int | None) -> int:
    count, unsent_bytes = 0, max(UNSENT_BYTES, (buffer_bytes or 0) // 2)
    for stream in _streams(pid):
        with stream:
            if _peer_port(stream) == port:
                stream.setsockopt(socket.IPPROTO_TCP, _TCP_NOTSENT_LOWAT, unsent_bytes)
                stream.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                if buffer_bytes:
                    _set_buffer(stream, _SO_SNDBUFFORCE, socket.SO_SNDBUF, buffer_bytes)
                count += 1
    return count


async def keep_listener_short(pid: int, uri: str, *, buffer_bytes: int) -> None:
    """Every connection that will be made to that QEMU's port takes in little that QEMU has not read."""
    await asyncio.to_thread(_keep_listener_short, pid, int(uri.rpartition(":")[2]), buffer_bytes)


def _keep_listener_short(pid: int, port: int, buffer_bytes: int) -> None:
    for stream in _streams(pid):
        with stream:
            if stream.family in _INTERNET and stream.getsockname()[1] == port:
                _set_buffer(stream, _SO_RCVBUFFORCE, socket.SO_RCVBUF, buffer_bytes)


def _set_buffer(stream: socket.socket, by_force: int, usual: int, size: int) -> None:
    try:
        stream.setsockopt(socket.SOL_SOCKET, by_force, size)
    except PermissionError:
        stream.setsockopt(socket.SOL_SOCKET, usual, size)


def unread_bytes(pid: int, uri: str) -> list[int]:
    """What lies unread in each connection of that QEMU to the uri's port."""
    found = []
    for stream in _streams(pid):
        with stream:
            if _peer_port(stream) == int(uri.rpartition(":")[2]):
                found.append(int.from_bytes(fcntl.ioctl(stream, termios.FIONREAD, bytes(4)), sys.byteorder))
    return found


def _streams(pid: int) -> Iterator[socket.socket]:
    """Our own handles of the sockets that the process has open."""
    for name in os.listdir(f"/proc/{pid}/fd"):
        with contextlib.suppress(OSError, Failed):  # closed meanwhile
            if os.readlink(f"/proc/{pid}/fd/{name}").startswith("socket:"):
                yield socket.socket(fileno=fetch_fd(pid, int(name)))


def _peer_port(stream: socket.socket) -> int | None:
    if stream.family not in _INTERNET:
        return None
    with contextlib.suppress(OSError):
        port: int = stream.getpeername()[1]
        return port
    return None

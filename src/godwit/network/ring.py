"""Frames on their way to a VM: recorded as they enter its tap, taken back out of it, and sent on elsewhere.

A frame keeps its virtio-net header: what the sender left to hardware (a checksum, the cutting of a large segment) is
noted there and nowhere else, and a guest drops a frame that comes without it.
"""

from __future__ import annotations

import fcntl
import os
import socket
import struct
from collections import deque
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass

from godwit.core.errors import Failed
from godwit.host.process import fetch_fd

HEADER_BYTES = 10
"""Of the virtio-net header that AF_PACKET speaks (packet(7), PACKET_VNET_HDR)."""
VNET_NOTHING = bytes(HEADER_BYTES)
"""A header that leaves nothing to hardware."""
FRAME_BYTES_MAX = 65536 + 256
KEPT_FRAMES = 10_064
"""As many as wait in a tap at most, and those before them."""
KEPT_BYTES = 32 << 20
LAG_MS = 1.0
"""QEMU reads a frame within this time after it entered the tap, unless it lags behind."""
SWALLOWED_WITHIN_MS = 10.0
"""Before STOP; what it read earlier was delivered, since the guest ran."""
CAPTURE_BYTES = 32 << 20
SACRIFICE = b"\xff" * 6 + b"\x02\x00\x00\x00\x00\x00" + b"\x88\xb5" + bytes(46)
"""A frame of the ethertype for local experiments (IEEE 802), which nobody answers."""

_SOL_PACKET, _PACKET_VNET_HDR = 263, 15
_PACKET_OUTGOING = 4
_TUNGETVNETHDRSZ = 0x800454D7
_ETH_P_ALL = 0x0003
_NANOSECONDS = struct.Struct("=qq")
_SO_TIMESTAMPNS, _SO_RCVBUFFORCE = 35, 33


@dataclass(frozen=True)
class Frame:
    """One frame with its virtio-net header."""

    header: bytes
    data: bytes
    at_ms: float = 0.0
    """Unix time at which it entered the tap."""


class Injector:
    """Sends frames out of an interface as they are."""

    def __init__(self, interface: str) -> None:
        self._socket = _packet_socket(interface, 0)

    def send(self, frames: Iterable[Frame]) -> int:
        """They have left in order; returns how many. One that the kernel does not take is left out."""
        count = 0
        for frame in frames:
            try:
                self._socket.send(frame.header[:HEADER_BYTES] + frame.data)
                count += 1
            except OSError:  # a header that this kernel does not understand, or a link that went away
                continue
        return count

    def close(self) -> None:
        """Gives the socket back."""
        self._socket.close()


class Capture:
    """Remembers the last frames that entered a tap on their way to the VM."""

    def __init__(self, tap: str) -> None:
        self._socket = _packet_socket(tap, _ETH_P_ALL)
        self._socket.setsockopt(socket.SOL_SOCKET, _SO_TIMESTAMPNS, 1)
        with suppress(PermissionError):  # of an ordinary user in a namespace: the usual size must do
            self._socket.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, CAPTURE_BYTES)
        self._socket.setblocking(False)
        self._kept: deque[Frame] = deque()
        self._bytes = 0

    def fileno(self) -> int:
        """For a selector."""
        return self._socket.fileno()

    def read(self) -> None:
        """What has come since is remembered."""
        while True:
            try:
                data, ancillary, _, address = self._socket.recvmsg(FRAME_BYTES_MAX, 64)
            except BlockingIOError:
                return
            if address[2] == _PACKET_OUTGOING:
                seconds, nanoseconds = _NANOSECONDS.unpack(ancillary[0][2][: _NANOSECONDS.size])
                self._keep(Frame(data[:HEADER_BYTES], data[HEADER_BYTES:], seconds * 1000 + nanoseconds / 1e6))

    def _keep(self, frame: Frame) -> None:
        if len(self._kept) == KEPT_FRAMES:
            self._bytes -= len(self._kept.popleft().data)
        self._kept.append(frame)
        self._bytes += len(frame.data)
        while self._bytes > KEPT_BYTES:
            self._bytes -= len(self._kept.popleft().data)

    def before(self, drained: list[Frame], *, stopped_at_ms: float, most: int) -> list[Frame]:
        """The frames that entered last, but before those drained: what QEMU may have read and not delivered.

        One that entered a while before STOP was delivered then, unless QEMU lagged behind: if the first of those
        drained had waited already, the one before it was read just before STOP, whenever it entered.
        """
        kept, taken, first = list(self._kept), {frame.data for frame in drained}, None
        for _ in drained:
            if not kept or kept[-1].data not in taken:
                break
            first = kept.pop()
        if first and first.at_ms < stopped_at_ms - LAG_MS:
            return kept[-most:]
        return [frame for frame in kept[-most:] if frame.at_ms >= stopped_at_ms - SWALLOWED_WITHIN_MS]

    def close(self) -> None:
        """Gives the socket back."""
        self._socket.close()


class TapHandle:
    """A descriptor of a tap: what waits in its ring can be taken out."""

    def __init__(self, fd: int) -> None:
        """The descriptor is ours from now on."""
        self._fd = fd

    @classmethod
    def of(cls, qemu_pid: int, fd_in_qemu: int) -> TapHandle:
        """Of QEMU's own tap; `Failed` without the right to it."""
        return cls(fetch_fd(qemu_pid, fd_in_qemu))

    def drain(self) -> list[Frame]:
        """The ring is empty; its frames in their order."""
        size = struct.unpack("i", fcntl.ioctl(self._fd, _TUNGETVNETHDRSZ, bytes(4)))[0]
        frames: list[Frame] = []
        while True:
            try:
                data = os.read(self._fd, FRAME_BYTES_MAX)
            except BlockingIOError:
                return frames
            frames.append(Frame(data[:HEADER_BYTES], data[size:]))

    def close(self) -> None:
        """Gives the descriptor back."""
        os.close(self._fd)


def sacrifice(tap: str) -> None:
    """One dummy frame is in the tap: the one that a waiting QEMU reads, misreads once it has loaded, and loses."""
    injector = Injector(tap)
    try:
        injector.send([Frame(VNET_NOTHING, SACRIFICE)])
    finally:
        injector.close()


def _packet_socket(interface: str, protocol: int) -> socket.socket:
    try:
        opened = socket.socket(socket.AF_PACKET, socket.SOCK_RAW | socket.SOCK_CLOEXEC, 0)
        opened.setsockopt(_SOL_PACKET, _PACKET_VNET_HDR, 1)
        opened.bind((interface, protocol))
    except OSError as error:
        raise Failed(f"cannot listen on {interface} ({error.strerror}): run the agent as root (CAP_NET_RAW)") from error
    return opened

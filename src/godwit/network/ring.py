"""Frames on their way to a VM: recorded as they enter its tap, taken back out of it, and sent on elsewhere.

A frame keeps its virtio-net header: what the sender left to hardware (a checksum, the cutting of a large segment) is
noted there and nowhere else, and a guest drops a frame that comes without it.
"""

from __future__ import annotations

import errno
import fcntl
import os
import socket
import struct
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass

from godwit.core.errors import Failed
from godwit.host.process import fetch_fd
from godwit.network.packet import (
    ANCILLARY_BYTES,
    OUTGOING,
    SOL_PACKET,
    Ancillary,
    PacketSocket,
    close_aside,
    tag_of,
    tell_tags,
)

HEADER_BYTES = 10
"""Of the virtio-net header that AF_PACKET speaks (packet(7), PACKET_VNET_HDR)."""
VNET_NOTHING = bytes(HEADER_BYTES)
"""A header that leaves nothing to hardware."""
FRAME_BYTES_MAX = 65536 + 256
KEPT_FRAMES = 10_064
"""As many as wait in a tap at most, and those before them."""
KEPT_BYTES = 32 << 20
SAID_FRAMES, SAID_BYTES = 2048, 96
"""As many frames of the VM's own are remembered, and so much of each: its headers."""
CAPTURE_BYTES = 32 << 20
SACRIFICE = b"\xff" * 6 + b"\x02\x00\x00\x00\x00\x00" + b"\x88\xb5" + bytes(46)
"""A frame of the ethertype for local experiments (IEEE 802), which nobody answers."""

_PACKET_VNET_HDR = 15
_TUNGETVNETHDRSZ = 0x800454D7
_ETH_P_ALL = 0x0003
_NEEDS_CHECKSUM = 1
_CHECKSUM_START, _CHECKSUM_START_AT = struct.Struct("=H"), 6
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
    """Remembers the last frames that entered a tap on their way to the VM, and the headers of those that came of it."""

    def __init__(self, tap: str) -> None:
        self._socket = _packet_socket(tap, _ETH_P_ALL)
        self._socket.setsockopt(socket.SOL_SOCKET, _SO_TIMESTAMPNS, 1)
        tell_tags(self._socket)
        try:
            self._socket.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, CAPTURE_BYTES)
        except PermissionError:  # of an ordinary user in a namespace: as much as the system allows everybody
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, CAPTURE_BYTES)
        self._socket.setblocking(False)
        self.entered: deque[Frame] = deque()
        self.count = 0
        """Of all that have entered, remembered or not."""
        self.said: deque[Frame] = deque(maxlen=SAID_FRAMES)
        """By the VM."""
        self._bytes = 0

    def fileno(self) -> int:
        """For a selector."""
        return self._socket.fileno()

    def read(self) -> None:
        """What has come since is remembered."""
        while True:
            try:
                data, ancillary, _, address = self._socket.recvmsg(FRAME_BYTES_MAX, ANCILLARY_BYTES)
            except BlockingIOError:
                return
            except OSError as error:
                if error.errno != errno.ENETDOWN:  # told once: the tap is or was down
                    raise
                continue
            at_ms = _stamp_of(ancillary)
            if address[2] == OUTGOING:
                self._keep(tagged(Frame(data[:HEADER_BYTES], data[HEADER_BYTES:], at_ms), tag_of(ancillary)))
            else:
                frame = Frame(b"", data[HEADER_BYTES : HEADER_BYTES + SAID_BYTES], at_ms)
                self.said.append(tagged(frame, tag_of(ancillary)))

    def since(self, count: int) -> list[Frame]:
        """Those that have entered since there were so many."""
        return list(self.entered)[max(0, len(self.entered) - (self.count - count)) :]

    def _keep(self, frame: Frame) -> None:
        if len(self.entered) == KEPT_FRAMES:
            self._bytes -= len(self.entered.popleft().data)
        self.entered.append(frame)
        self.count += 1
        self._bytes += len(frame.data)
        while self._bytes > KEPT_BYTES:
            self._bytes -= len(self.entered.popleft().data)

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

    def copy(self) -> TapHandle:
        """Another one of the same tap."""
        return TapHandle(os.dup(self._fd))

    def close_aside(self) -> None:
        """Gives the descriptor back, which nobody waits for though it may be the tap's last."""
        close_aside(self._fd)

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


def tagged(frame: Frame, tag: bytes) -> Frame:
    """With that VLAN tag, as it comes out of a tap; without one, as it is."""
    if not tag:
        return frame
    header = frame.header
    if header and header[0] & _NEEDS_CHECKSUM:
        start = _CHECKSUM_START.unpack_from(header, _CHECKSUM_START_AT)[0] + len(tag)
        header = header[:_CHECKSUM_START_AT] + _CHECKSUM_START.pack(start) + header[_CHECKSUM_START_AT + 2 :]
    return Frame(header, frame.data[:12] + tag + frame.data[12:], frame.at_ms)


def _stamp_of(ancillary: Ancillary) -> float:
    for level, _, told in ancillary:
        if level == socket.SOL_SOCKET:
            seconds, nanoseconds = _NANOSECONDS.unpack(told[: _NANOSECONDS.size])
            return float(seconds * 1000 + nanoseconds / 1e6)
    return 0.0


def _packet_socket(interface: str, protocol: int) -> socket.socket:
    try:
        opened = PacketSocket()
        opened.setsockopt(SOL_PACKET, _PACKET_VNET_HDR, 1)
        opened.bind((interface, protocol))
    except OSError as error:
        raise Failed(f"cannot listen on {interface} ({error.strerror}): run the agent as root (CAP_NET_RAW)") from error
    return opened

"""The one door to the kernel's network configuration, in the network namespace of the calling thread.

Slow work goes through `opened` (in a thread: see `port`). What must take microseconds is `Prepared`: messages that
were built in advance and go to the kernel in one system call. (Measured: an IPRoute takes 0.3 ms to open and 0.16 ms
for each order; two prepared messages 0.03 ms.)
"""

from __future__ import annotations

import os
import socket
import struct
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import pyroute2
from pyroute2.netlink.exceptions import NetlinkError
from pyroute2.netlink.rtnl.ifinfmsg import ifinfmsg
from pyroute2.netlink.rtnl.ndmsg import ndmsg

from godwit.core.errors import Failed, NotFound

Message = tuple[int, int, Any]
"""An order to the kernel: its type (RTM_...), flags beside the usual ones, and the pyroute2 message, or its bytes."""

_untyped: Any = pyroute2
link_message: Callable[[], Any] = ifinfmsg
neighbour_message: Callable[[], Any] = ndmsg

NLA_F_NESTED = 0x8000
NLM_F_REQUEST, NLM_F_ACK, NLM_F_REPLACE, NLM_F_CREATE = 0x1, 0x4, 0x100, 0x400
_NLMSG_ERROR = 2
_HEADER = struct.Struct("=IHHII")
_ANSWER_TIMEOUT_S = 5.0
"""The kernel answers while it is being asked; only a bug makes it silent."""


@contextmanager
def opened(what: str) -> Iterator[Any]:
    """An IPRoute in this thread's namespace; `Failed` begins with `what` was being done if the kernel refuses."""
    try:
        with _untyped.IPRoute() as ip:
            yield ip
    except NetlinkError as error:
        raise refused(what, error.code) from error
    except OSError as error:
        raise refused(what, error.errno or 0) from error


def refused(what: str, code: int) -> Failed:
    """The kernel said no to `what`."""
    remedy = "run the agent as root (CAP_NET_ADMIN)" if code in (1, 13) else "look at `ip -details link` there"
    return Failed(f"{what}: the kernel says {os.strerror(code)!r}; {remedy}", "network")


def index_of(interface: str) -> int:
    """The interface's number; `NotFound` if there is none of that name."""
    try:
        return socket.if_nametoindex(interface)
    except OSError as error:
        raise NotFound(f"there is no network interface {interface} here: `ip link` lists those there are") from error


class Prepared:
    """Orders to the kernel, built now and given at the call, all in one system call and in their order.

    It keeps to the namespace it was made in. Calling it again is harmless if the orders are.
    """

    def __init__(self, what: str, messages: Sequence[Message]) -> None:
        self._what = what
        self._count = len(messages)
        self._data = b"".join(_encoded(number, *message) for number, message in enumerate(messages, 1))
        self._socket = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, socket.NETLINK_ROUTE)
        self._socket.settimeout(_ANSWER_TIMEOUT_S)
        self._socket.bind((0, 0))

    def __call__(self) -> None:
        """The kernel has carried out all of them; `Failed` with the first that it refused (it tried the rest too)."""
        try:
            self._socket.send(self._data)
            codes: list[int] = []
            while len(codes) < self._count:
                codes += _codes(self._socket.recv(65536))
        except OSError as error:
            raise refused(self._what, error.errno or 0) from error
        for code in codes:
            if code:
                raise refused(self._what, code)

    def close(self) -> None:
        """Gives the socket back."""
        self._socket.close()

    def __enter__(self) -> Prepared:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _encoded(number: int, kind: int, flags: int, message: Any) -> bytes:
    if isinstance(message, bytes):
        return _HEADER.pack(_HEADER.size + len(message), kind, NLM_F_REQUEST | NLM_F_ACK | flags, number, 0) + message
    message["header"]["type"] = kind
    message["header"]["flags"] = NLM_F_REQUEST | NLM_F_ACK | flags
    message["header"]["sequence_number"] = number
    message.encode()
    data = bytes(message.data)
    return data + bytes(-len(data) % 4)


def _codes(data: bytes) -> Iterator[int]:
    """The error number of each acknowledgement, 0 where the kernel agreed."""
    offset = 0
    while offset < len(data):
        length, kind, *_ = _HEADER.unpack_from(data, offset)
        if kind == _NLMSG_ERROR:
            yield -struct.unpack_from("=i", data, offset + _HEADER.size)[0]
        offset += length + (-length % 4)

"""A network of the test's own: a fresh namespace, a bridge in it, a cable that leads out of the bridge."""

from __future__ import annotations

import ctypes
import os
import select
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from godwit.core.errors import Failed
from godwit.network.tap import Tap, open_tap

CLONE_NEWNET = 0x4000_0000
DEADLINE_S = 20.0
VNET_HEADER_BYTES = 10
_libc = ctypes.CDLL(None, use_errno=True)


def ip(words: str) -> str:
    """What `ip` says, or `bridge` where the words begin with it, in the namespace of this thread."""
    argv = words.split() if words.startswith("bridge ") else ["ip", *words.split()]
    return subprocess.run(argv, check=True, capture_output=True, text=True).stdout


def until(condition: Callable[[], bool], what: str) -> None:
    """It has become true."""
    end = time.monotonic() + DEADLINE_S
    while not condition():
        assert time.monotonic() < end, f"never: {what}"


@dataclass
class Ear:
    """Hears what comes out of one end of a cable, and speaks into it: a tap from the VM's side, or an interface."""

    fd: int
    header: bytes = b""
    heard: list[bytes] = field(default_factory=list)

    def listen(self) -> list[bytes]:
        """All frames that have come so far."""
        while select.select([self.fd], [], [], 0)[0]:
            self.heard.append(os.read(self.fd, 65536)[len(self.header) :])
        return self.heard

    def reads(self, count: int) -> None:
        """That many frames have been taken out."""
        for _ in range(count):
            self.heard.append(os.read(self.fd, 65536)[len(self.header) :])

    def hears(self, frame: bytes) -> None:
        """That frame has come."""
        until(lambda: frame in self.listen(), f"frame {frame.hex()} heard")

    def says(self, frame: bytes) -> None:
        """That frame has gone into the cable."""
        os.write(self.fd, self.header + frame)


def frame(sender: str, receiver: str, text: str) -> bytes:
    """A frame that nothing but a bridge looks at."""
    addresses = receiver.replace(":", "") + sender.replace(":", "")
    return (bytes.fromhex(addresses) + b"\x88\xb5" + text.encode()).ljust(60, b"\0")


@pytest.fixture
def namespace() -> Iterator[None]:
    """The test and the threads that it starts are in a network namespace of their own."""
    if os.geteuid() != 0:
        pytest.skip("needs root, or runs within test_ordinary_user")
    with open("/proc/thread-self/ns/net") as home:
        if _libc.unshare(CLONE_NEWNET) != 0:
            pytest.skip(f"no network namespace here: {os.strerror(ctypes.get_errno())}")
        try:
            ip("link set lo up")
            yield
        finally:
            assert _libc.setns(home.fileno(), CLONE_NEWNET) == 0


@dataclass
class Lan:
    """The bridge `lan` with the port `uplink`, a cable to `far`; no IPv6 anywhere."""

    far: Ear
    stack: ExitStack

    def tap(self, name: str) -> tuple[Tap, Ear]:
        """A tap, and the VM's ear and mouth."""
        try:
            tap = open_tap(name)
        except Failed as error:
            pytest.skip(str(error))
        self.stack.callback(os.close, tap.fd)
        return tap, Ear(tap.fd, bytes(VNET_HEADER_BYTES))

    def at(self, interface: str) -> Ear:
        """An ear at an interface."""
        packet = socket.socket(socket.AF_PACKET, socket.SOCK_RAW | socket.SOCK_NONBLOCK, 0)
        self.stack.callback(packet.close)
        packet.bind((interface, 0x0003))
        return Ear(packet.fileno())


def silence(interface: str) -> None:
    """It says nothing of its own."""
    with suppress(FileNotFoundError):  # no IPv6 here
        Path(f"/proc/sys/net/ipv6/conf/{interface}/disable_ipv6").write_text("1")


def forwards(port: str) -> None:
    """The bridge has noticed that the cable is in, and sends frames through that port."""
    until(lambda: "state forwarding" in ip(f"bridge link show dev {port}"), f"{port} forwards")


@pytest.fixture
def lan(namespace: None) -> Iterator[Lan]:
    with ExitStack() as stack:
        ip("link add lan type bridge mcast_snooping 0")  # or it speaks itself
        ip("link add uplink address 02:00:00:00:00:0a type veth peer name far")
        for interface in ("lan", "uplink", "far"):
            silence(interface)
            ip(f"link set {interface} up")
        ip("link set uplink master lan")
        forwards("uplink")
        lan = Lan(Ear(-1), stack)
        lan.far = lan.at("far")
        yield lan

"""A network of the test's own: a fresh namespace, a bridge in it, a cable that leads out of the bridge."""

from __future__ import annotations

import asyncio
import ctypes
import os
import select
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import pytest

from godwit.core.errors import Failed
from godwit.network.linux_bridge import LinuxBridge
from godwit.network.open_vswitch import OpenVSwitch
from godwit.network.switch import Switch
from godwit.network.tap import Tap, open_tap

CLONE_NEWNET = 0x4000_0000
DEADLINE_S = 60.0
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
        _cable_to_far()
        ip("link set uplink master lan")
        for interface in ("lan", "uplink", "far"):
            silence(interface)
            ip(f"link set {interface} up")
        forwards("uplink")
        lan = Lan(Ear(-1), stack)
        lan.far = lan.at("far")
        yield lan


def _cable_to_far() -> None:
    ip("link add uplink address 02:00:00:00:00:0a type veth peer name far")


@pytest.fixture
def ovs_lan(namespace: None, monkeypatch: pytest.MonkeyPatch) -> Iterator[Lan]:
    """The same with Open vSwitch, in user space, of the test's own."""
    if shutil.which("ovs-vsctl") is None or shutil.which("ovs-vswitchd", path="/usr/sbin:/usr/bin") is None:
        pytest.skip("Open vSwitch is not installed: tools/setup ovs")
    with ExitStack() as stack:
        run_dir = stack.enter_context(tempfile.TemporaryDirectory(prefix="ovs"))
        for name in ("OVS_RUNDIR", "OVS_DBDIR", "OVS_LOGDIR"):
            monkeypatch.setenv(name, run_dir)
        _cable_to_far()
        for interface in ("uplink", "far"):
            silence(interface)
            ip(f"link set {interface} up")
        stack.callback(_end_ovs, Path(run_dir))
        _start_ovs(run_dir)
        ovs("ovs-vsctl add-br lan -- set bridge lan datapath_type=netdev -- add-port lan uplink")
        silence("lan")
        ip("link set lan up")
        lan = Lan(Ear(-1), stack)
        lan.far = lan.at("far")
        yield lan


def ovs(words: str) -> str:
    """What one of Open vSwitch's tools says."""
    path = f"{os.environ['PATH']}:/usr/sbin"
    argv = words.split()
    return subprocess.run(argv, check=True, capture_output=True, text=True, env=os.environ | {"PATH": path}).stdout


def _start_ovs(run_dir: str) -> None:
    daemon = f"--detach --no-chdir --pidfile --log-file={run_dir}/log -vconsole:off"
    ovs(f"ovsdb-tool create {run_dir}/conf.db /usr/share/openvswitch/vswitch.ovsschema")
    ovs(f"ovsdb-server {run_dir}/conf.db --remote=punix:{run_dir}/db.sock {daemon}")
    ovs("ovs-vsctl --no-wait init")
    ovs(f"ovs-vswitchd unix:{run_dir}/db.sock {daemon} --disable-system")


def _end_ovs(run_dir: Path) -> None:
    for name in ("ovs-vswitchd", "ovsdb-server"):
        with suppress(FileNotFoundError, ProcessLookupError):
            pid = int((run_dir / f"{name}.pid").read_text())
            os.kill(pid, signal.SIGKILL)
            until(partial(_is_dead, pid), f"{name} ended")


def _is_dead(pid: int) -> bool:
    with suppress(FileNotFoundError, ProcessLookupError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    return True


@dataclass
class Switched:
    """A network with a switch of some kind."""

    lan: Lan
    switch: Switch

    def plug(self, name: str, *, muted: bool = False) -> tuple[Tap, Ear]:
        """A tap in the switch, and the VM's ear and mouth."""
        tap, ear = self.lan.tap(name)
        asyncio.run(self.switch.plug(name, muted=muted))
        return tap, ear


@pytest.fixture(params=["lan", "ovs_lan"])
def switched(request: pytest.FixtureRequest) -> Switched:
    """With each kind."""
    lan = request.getfixturevalue(request.param)
    return Switched(lan, LinuxBridge("lan") if request.param == "lan" else OpenVSwitch("lan"))

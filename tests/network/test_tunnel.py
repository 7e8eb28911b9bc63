"""A real VXLAN between two namespaces: what goes in at the source comes out in the tap, but not the VM's own frames."""

from __future__ import annotations

import asyncio
import os
import socket
import subprocess
import threading
from collections import Counter
from collections.abc import Iterator

import pytest

from godwit.core.errors import Refused
from godwit.network import tunnel
from godwit.network.port import plug

from .conftest import Ear, Lan, frame, ip, until

pytestmark = pytest.mark.root

VM = "52:54:00:12:34:56"
FAR = "52:54:00:00:00:fa"
HERE, THERE = "192.0.2.1", "192.0.2.2"
MTU = 1600
ROUNDS_MOST = 20
"""Until frames have come while they were poured either way."""


@pytest.fixture
def elsewhere(lan: Lan) -> Iterator[str]:
    """The process id of a namespace at the other end of a migration network."""
    holder = subprocess.Popen(["unshare", "-n", "sleep", "1000"])
    try:
        ours = os.readlink("/proc/thread-self/ns/net")
        until(lambda: os.readlink(f"/proc/{holder.pid}/ns/net") != ours, "a namespace of its own")
        ip(f"link add mig0 mtu {MTU} type veth peer name mig1 mtu {MTU} netns {holder.pid}")
        ip(f"addr add {HERE}/24 dev mig0")
        ip("link set mig0 up")
        for words in (f"addr add {THERE}/24 dev mig1", "link set mig1 up", "link set lo up"):
            subprocess.run(["nsenter", "-t", str(holder.pid), "-n", "ip", *words.split()], check=True)
        yield str(holder.pid)
    finally:
        holder.kill()
        holder.wait()


def far_end(pid: str, vni: int) -> None:
    """The source's end, made by hand in the other namespace."""
    words = f"link add gv-far type vxlan id {vni} local {THERE} remote {HERE} dstport {tunnel.UDP_PORT} nolearning"
    subprocess.run(["nsenter", "-t", pid, "-n", "ip", *words.split()], check=True)
    subprocess.run(["nsenter", "-t", pid, "-n", "ip", "link", "set", "gv-far", "mtu", "1500", "up"], check=True)


def send_there(pid: str, *frames: bytes) -> None:
    """The frames enter the tunnel at the source."""
    code = "import socket,sys\ns=socket.socket(socket.AF_PACKET,socket.SOCK_RAW,0)\ns.bind(('gv-far',0))\n"
    code += "\n".join(f"s.send(bytes.fromhex('{each.hex()}'))" for each in frames)
    subprocess.run(["nsenter", "-t", pid, "-n", "/usr/bin/python3", "-"], input=code, text=True, check=True)


def interfaces() -> list[str]:
    return [name for _, name in socket.if_nameindex()]


def listening_there(pid: str, interface: str, size: int) -> subprocess.Popen[str]:
    """A program there that says the first frame of that size that comes out of the interface; it listens already."""
    code = "import socket\ns=socket.socket(socket.AF_PACKET,socket.SOCK_RAW,socket.htons(3))\n"
    code += f"s.bind(('{interface}',0))\nprint('ready',flush=True)\n"
    code += f"while len(d:=s.recv(65536))!={size}: pass\nprint(d.hex())"
    words = ["nsenter", "-t", pid, "-n", "/usr/bin/python3", "-c", code]
    program = subprocess.Popen(words, stdout=subprocess.PIPE, text=True)
    assert program.stdout is not None
    assert program.stdout.readline() == "ready\n"
    return program


def destination(lan: Lan, vni: int) -> Ear:
    tap, ear = lan.tap("gw-vm")
    asyncio.run(plug(tap.name, "lan", muted=True))
    asyncio.run(tunnel.open_destination_end("gi-vm", tap="gw-vm", mac=VM, vni=vni, ends=(HERE, THERE)))
    return ear


def test_frames_come_out_in_the_muted_tap_but_not_the_vms_own(lan: Lan, elsewhere: str) -> None:
    vni = tunnel.tunnel_id("m1", 0)
    ear = destination(lan, vni)
    far_end(elsewhere, vni)
    wanted = [frame(FAR, VM, "one"), frame(FAR, "ff:ff:ff:ff:ff:ff", "two"), frame(FAR, VM, "three")]
    own = frame(VM, "ff:ff:ff:ff:ff:ff", "my own announcement")

    send_there(elsewhere, wanted[0], own, *wanted[1:])

    ear.hears(wanted[-1])
    assert [each for each in ear.heard if each[12:14] == b"\x88\xb5"] == wanted
    assert lan.far.listen() == []


def two_ways(lan: Lan, elsewhere: str) -> tuple[Ear, Ear]:
    """A tunnel that comes out in the first one's tap, and another tap."""
    vni = tunnel.tunnel_id("m1", 0)
    ear = destination(lan, vni)
    far_end(elsewhere, vni)
    tap, other = lan.tap("gw-other")
    asyncio.run(plug(tap.name, "lan", muted=True))
    return ear, other


def test_what_was_poured_elsewhere_does_not_come_to_the_tap(lan: Lan, elsewhere: str) -> None:
    ear, other = two_ways(lan, elsewhere)

    with tunnel.pouring("gi-vm", "gw-other") as pour:
        pour()
    send_there(elsewhere, frame(FAR, VM, "on"))

    other.hears(frame(FAR, VM, "on"))
    assert frame(FAR, VM, "on") not in ear.listen()


def test_no_frame_is_lost_while_they_are_poured_to_and_fro(lan: Lan, elsewhere: str) -> None:
    ears = two_ways(lan, elsewhere)
    frames = [frame(FAR, VM, str(number)) for number in range(1000)]
    heard: list[list[bytes]] = [[], []]
    rounds = 0

    with tunnel.pouring("gi-vm", "gw-other") as there, tunnel.pouring("gi-vm", "gw-vm") as back:
        while not all(heard) and rounds < ROUNDS_MOST:
            sending = threading.Thread(target=send_there, args=(elsewhere, *frames))
            sending.start()
            while sending.is_alive():
                there()
                back()
            sending.join()
            rounds += 1
            heard = [[each for each in one.listen() if each in frames] for one in ears]

    assert all(heard), "some came each way"
    assert Counter(heard[0] + heard[1]) == Counter(rounds * frames)


def source(lan: Lan) -> bool:
    tap, _ = lan.tap("gw-vm")
    asyncio.run(plug(tap.name, "lan", muted=False))
    is_whole = asyncio.run(tunnel.open_source_end("gw-vm", bridge="lan", vni=5, local=HERE, remote=THERE))
    asyncio.run(tunnel.open_port("gw-vm", "lan"))
    return is_whole


def test_the_sources_end_neither_learns_nor_floods(lan: Lan, elsewhere: str) -> None:
    assert source(lan)
    lan.far.says(frame(FAR, "ff:ff:ff:ff:ff:ff", "to all"))
    lan.far.says(frame(FAR, "52:54:00:00:00:99", "unknown"))

    assert asyncio.run(tunnel.look("gv-vm")).sent == 0
    for name in ("gp-vm", "gp-vm", "gv-vm", "gv-vm"):
        asyncio.run(tunnel.close(name))
    assert not set(interfaces()) & {"gv-vm", "gp-vm", "gq-vm"}


@pytest.mark.parametrize("mtu", [1600, 1500])
def test_the_longest_frames_pass_cut_or_whole(lan: Lan, elsewhere: str, mtu: int) -> None:
    for end in ("lan", "uplink", "far"):
        ip(f"link set {end} mtu 1500")
    ip(f"link set mig0 mtu {mtu}")
    assert source(lan) is (mtu == 1600)
    ip(f"bridge fdb add {VM} dev gp-vm master static sticky")
    far_end(elsewhere, 5)
    long = frame(FAR, VM, "long").ljust(1514, b"x")
    sniffer = listening_there(elsewhere, "gv-far", len(long))

    lan.far.says(long)

    assert sniffer.communicate(timeout=60)[0].strip() == long.hex()


def test_what_comes_back_goes_into_the_tap(lan: Lan, elsewhere: str) -> None:
    tap, ear = lan.tap("gw-vm")
    asyncio.run(plug(tap.name, "lan", muted=False))
    asyncio.run(tunnel.open_source_end("gw-vm", bridge="lan", vni=5, local=HERE, remote=THERE))
    far_end(elsewhere, 5)

    send_there(elsewhere, frame(FAR, VM, "back"))

    ear.hears(frame(FAR, VM, "back"))


def test_frames_that_cannot_be_cut_are_refused_before(lan: Lan, elsewhere: str) -> None:
    ip("link set mig0 mtu 1500")
    ip("addr add fd00::1/64 dev mig0 nodad")
    tap, _ = lan.tap("gw-vm")
    asyncio.run(plug(tap.name, "lan", muted=False))

    with pytest.raises(Refused, match="raise that to 1570"):
        asyncio.run(tunnel.open_source_end("gw-vm", bridge="lan", vni=5, local="fd00::1", remote="fd00::2"))

    assert "gv-vm" not in interfaces()


def test_ids_differ_between_migrations_and_cards() -> None:
    ids = {tunnel.tunnel_id(f"m{number}", card) for number in range(50) for card in range(3)}

    assert len(ids) == 150
    assert all(0 < each < 2**24 for each in ids)

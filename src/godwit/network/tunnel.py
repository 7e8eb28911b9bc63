"""A point-to-point tunnel of one network card's frames between the two hosts of one migration: VXLAN, one id each.

Neither end is a port of a bridge. At the destination tc hands what comes out straight to the tap, so no loop can form,
and the destination's bridge goes on sending the VM's frames to the source until the VM lives there. At a source with a
Linux bridge a port beside it, which neither learns nor floods, hands to it what the bridge's own entry sends there. (A
VXLAN that is a port itself answers frames that are too long for the network below with ICMP and drops them:
skb_tunnel_check_pmtu. One that is none lets IPv4 cut them in two, so that an ordinary MTU of 1500 everywhere will do.)
"""

from __future__ import annotations

import asyncio
import hashlib
import socket
import struct
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from godwit.core.errors import NotFound, Refused
from godwit.network.filters import way
from godwit.network.netlink import NLM_F_CREATE, Message, Prepared, index_of, opened
from godwit.network.port import attach, silence

UDP_PORT = 4789
ENDS = ("gv-", "gi-", "gp-", "gq-", "gs-")
"""How the names of a relay's interfaces begin: a source's end, a destination's; the port beside the first and that
port's other half; the siding."""
OVERHEAD_BYTES = 50
"""Outer Ethernet, IPv4, UDP and VXLAN headers around a frame (RFC 7348)."""
DSCP_EF = 0xB8
"""Expedited forwarding (RFC 3246): relayed frames must not wait behind memory."""
_INGRESS = 0xFFFF0000
_CLSACT, _EGRESS = 0xFFFFFFF1, 0xFFFFFFF3
_ETH_P_ALL = 0x0003
_EVERYTHING: dict[str, Any] = {"protocol": _ETH_P_ALL, "target": 0x10002, "keys": ["0x0/0x0+0"]}
_RTM_NEWTFILTER = 44
_TCA_KIND, _TCA_OPTIONS = 1, 2
_TCA_U32_CLASSID, _TCA_U32_SEL = 1, 5
_TERMINAL = 1


@dataclass(frozen=True)
class TunnelEnd:
    """One end: the interface's name, and the frames it has sent and received."""

    name: str
    sent: int = 0
    received: int = 0


def tunnel_name(tap: str) -> str:
    """The source's end for a tap."""
    return f"gv{tap[2:]}"


def port_name(tap: str) -> str:
    """The bridge's port beside the source's end."""
    return f"gp{tap[2:]}"


def source_interfaces(tap: str) -> tuple[str, ...]:
    """Every interface of the source's end at a Linux bridge, but the siding."""
    return tunnel_name(tap), port_name(tap), f"gq{tap[2:]}"


def inbound_name(tap: str) -> str:
    """The destination's end, which outlives the VM's next departure from that host."""
    return f"gi{tap[2:]}"


def tunnel_id(migration: str, nic_index: int) -> int:
    """A VXLAN network identifier (24 bits) that is the same on both hosts, and another for each migration and card."""
    digest = hashlib.sha256(f"{migration}/{nic_index}".encode()).digest()
    return int.from_bytes(digest[:3], "big") or 1


async def open_source_end(tap: str, *, bridge: str, vni: int, local: str, remote: str) -> bool:
    """The tunnel is there, and what comes out of it goes into the tap. `bridge` tells how long frames are.

    Returns whether the longest frames fit through the network below without being cut. On failure nothing is left.
    """
    return await asyncio.to_thread(_open_source_end, tap, bridge, vni, (local, remote))


async def open_port(tap: str, bridge: str) -> None:
    """What the Linux bridge sends to `port_name(tap)` goes into the tunnel. On failure nothing of the port is left."""
    await asyncio.to_thread(_open_port, tap, bridge)


async def open_destination_end(name: str, *, tap: str, mac: str, vni: int, ends: tuple[str, str]) -> None:
    """What comes out of the tunnel, but frames that the VM itself sent, goes straight into the tap."""
    await asyncio.to_thread(_open_destination_end, name, tap, mac, (vni, ends))


async def close(name: str) -> None:
    """That end, or port, is gone, if there was one."""
    await asyncio.to_thread(_close, name)


async def look(name: str) -> TunnelEnd:
    """What went through this end so far."""
    return await asyncio.to_thread(_look, name)


async def close_all_but(kept: set[str]) -> list[str]:
    """No tunnel of an earlier agent is left, but those; returns the names of those that went."""
    names = [name for _, name in socket.if_nameindex() if name.startswith(ENDS) and name not in kept]
    for name in names:
        await asyncio.to_thread(_close, name)
    return names


def pouring(name: str, interface: str) -> Prepared:
    """A call by which what comes out of that destination's end goes into another interface from now on, every frame."""
    return Prepared(f"pouring {name} into {interface}", [way(index_of(name), index_of(interface))])


def exists(name: str) -> bool:
    """There is such a tunnel here."""
    with suppress(NotFound):
        return index_of(name) > 0
    return False


def _open_source_end(tap: str, bridge: str, vni: int, ends: tuple[str, str]) -> bool:
    name = tunnel_name(tap)
    with opened(f"making the tunnel {name}") as ip:
        link = ip.link("get", index=index_of(bridge))[0]
        fits = _fits(ip, ends[0], link.get_attr("IFLA_MTU"))
        try:
            index = _make(ip, name, vni, ends)
            _bring_up(ip, name, link.get_attr("IFLA_MTU"))
            ip.tc("add", "ingress", index, _INGRESS)
            _redirect(ip, index, tap)
        except BaseException:
            _close(name)
            raise
    return fits


def _open_port(tap: str, bridge: str) -> None:
    name, port = tunnel_name(tap), port_name(tap)
    with opened(f"making the port {port}") as ip:
        try:
            _make_port(ip, port, f"gq{tap[2:]}")
            ip.tc("add", "clsact", index_of(port), parent=_CLSACT)
            _redirect(ip, index_of(port), name, parent=_EGRESS)
            attach(ip, port, ip.link("get", index=index_of(bridge))[0])
        except BaseException:
            _close(port)
            raise


def _open_destination_end(name: str, tap: str, mac: str, tunnel: tuple[int, tuple[str, str]]) -> None:
    with opened(f"making the tunnel {name}") as ip:
        needed = ip.link("get", index=index_of(tap))[0].get_attr("IFLA_MTU")
        _fits(ip, tunnel[1][0], needed)
        try:
            index = _make(ip, name, *tunnel)
            ip.tc("add", "ingress", index, _INGRESS)
            orders = [way(index, index_of(tap)), _pass_up_what_comes_from(mac, index)]  # the first one has that handle
            with Prepared(f"leading {name} to {tap}, without the VM's own frames", orders) as do:
                do()
            _bring_up(ip, name, needed)
        except BaseException:
            _close(name)
            raise


def _bring_up(ip: Any, name: str, mtu: int) -> None:
    index = index_of(name)
    ip.link("set", index=index, mtu=mtu)
    silence(ip, name, index)
    ip.link("set", index=index, arp=False, state="up")


def _make_port(ip: Any, name: str, half: str) -> None:
    """A veth; nothing ever reaches its other half, because tc takes all that goes out of this one."""
    with suppress(NotFound):  # of an attempt that was killed
        ip.link("del", index=index_of(name))
    ip.link("add", ifname=name, kind="veth", peer={"ifname": half})
    silence(ip, half, index_of(half))
    ip.link("set", index=index_of(half), arp=False, state="up")


def _redirect(ip: Any, index: int, interface: str, *, parent: int = _INGRESS) -> None:
    into = {"kind": "mirred", "direction": "egress", "action": "redirect", "ifindex": index_of(interface)}
    ip.tc("add-filter", "u32", index, parent=parent, prio=2, **_EVERYTHING, action=into)


def _make(ip: Any, name: str, vni: int, ends: tuple[str, str]) -> int:
    local, remote = ends
    with suppress(NotFound):  # of an attempt that was killed
        ip.link("del", index=index_of(name))
    ip.link(
        "add",
        ifname=name,
        kind="vxlan",
        vxlan_id=vni,
        vxlan_local=local,
        vxlan_group=remote,
        vxlan_port=UDP_PORT,
        vxlan_learning=0,
        vxlan_tos=DSCP_EF,
        vxlan_ttl=64,
    )
    return index_of(name)


def _fits(ip: Any, local: str, needed: int) -> bool:
    """Whether frames that long need not be cut; `Refused` where they cannot be: IPv6 cuts none (RFC 8200, 4.5)."""
    under = [each["index"] for each in ip.addr("dump") if each.get_attr("IFA_ADDRESS") == local]
    mtu = ip.link("get", index=under[0])[0].get_attr("IFLA_MTU") if under else 0
    is_v6 = ":" in local
    needed += OVERHEAD_BYTES + (20 if is_v6 else 0)
    if mtu < needed and (is_v6 or not under):
        raise Refused(
            f"the VM's frames do not fit through the migration network at {local}, whose MTU is {mtu}: "
            f"raise that to {needed} on both hosts and the switches between, or use IPv4 there",
            "relay-mtu",
        )
    return bool(mtu >= needed)


def _pass_up_what_comes_from(mac: str, index: int) -> Message:
    """A filter before the other: frames sent by the VM itself, told by the sender 8 bytes before the network header,
    go up to the host, which has no address there and no use for them. (pyroute2 knows no negative offsets.)
    """
    sender = bytes.fromhex(mac.replace(":", ""))
    keys = struct.pack("!II", 0xFFFFFFFF, int.from_bytes(sender[:4])) + struct.pack("=ii", -8, 0)
    keys += struct.pack("!II", 0xFFFF0000, int.from_bytes(sender[4:]) << 16) + struct.pack("=ii", -4, 0)
    selector = struct.pack("=BBBxHHhhI", _TERMINAL, 0, 2, 0, 0, 0, 0, 0) + keys
    options = _attribute(_TCA_U32_CLASSID, struct.pack("=I", 0x10001)) + _attribute(_TCA_U32_SEL, selector)
    info = 1 << 16 | socket.htons(_ETH_P_ALL)
    header = struct.pack("=BxxxiIII", socket.AF_UNSPEC, index, 0, _INGRESS, info)
    body = header + _attribute(_TCA_KIND, b"u32\0") + _attribute(_TCA_OPTIONS, options)
    return _RTM_NEWTFILTER, NLM_F_CREATE, body


def _attribute(kind: int, value: bytes) -> bytes:
    return struct.pack("=HH", 4 + len(value), kind) + value + bytes(-len(value) % 4)


def _close(*names: str) -> None:
    for name in names:
        with suppress(NotFound), opened(f"removing {name}") as ip:
            ip.link("del", index=index_of(name))


def _look(name: str) -> TunnelEnd:
    with opened(f"looking at the tunnel {name}") as ip:
        counters = ip.link("get", index=index_of(name))[0].get_attr("IFLA_STATS64")
        return TunnelEnd(name, sent=counters["tx_packets"], received=counters["rx_packets"])

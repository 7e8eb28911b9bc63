"""A point-to-point tunnel of one network card's frames between the two hosts of one migration: VXLAN, one id each.

The source's end is a port of the VM's bridge that neither learns nor floods, so nothing enters it but what the bridge's
own entry sends there. The destination's end is no port at all: tc hands what comes out of it straight to the tap, so no
loop can form, and the destination's bridge goes on sending the VM's frames to the source until the VM lives there.
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
from godwit.network.netlink import NLM_F_CREATE, Message, Prepared, index_of, opened
from godwit.network.port import silence

UDP_PORT = 4789
ENDS = ("gv-", "gi-")
"""How the names of tunnels begin: a source's end, a destination's end."""
OVERHEAD_BYTES = 50
"""Outer Ethernet, IPv4, UDP and VXLAN headers around a frame (RFC 7348)."""
DSCP_EF = 0xB8
"""Expedited forwarding (RFC 3246): relayed frames must not wait behind memory."""
_INGRESS = 0xFFFF0000
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


def inbound_name(tap: str) -> str:
    """The destination's end, which outlives the VM's next departure from that host."""
    return f"gi{tap[2:]}"


def tunnel_id(migration: str, nic_index: int) -> int:
    """A VXLAN network identifier (24 bits) that is the same on both hosts, and another for each migration and card."""
    digest = hashlib.sha256(f"{migration}/{nic_index}".encode()).digest()
    return int.from_bytes(digest[:3], "big") or 1


async def open_source_end(name: str, *, bridge: str, vni: int, local: str, remote: str) -> None:
    """The tunnel is an up port of the bridge that neither learns nor floods. On failure nothing is left of it."""
    await asyncio.to_thread(_open_source_end, name, bridge, vni, (local, remote))


async def open_destination_end(name: str, *, tap: str, mac: str, vni: int, ends: tuple[str, str]) -> None:
    """What comes out of the tunnel, but frames that the VM itself sent, goes straight into the tap."""
    await asyncio.to_thread(_open_destination_end, name, tap, mac, (vni, ends))


async def close(name: str) -> None:
    """The tunnel is gone, if there was one, and the bridge's entries that pointed to it with it."""
    await asyncio.to_thread(_close, name)


async def look(name: str) -> TunnelEnd:
    """What went through this end so far."""
    return await asyncio.to_thread(_look, name)


async def close_all_but(kept: set[str]) -> list[str]:
    """No tunnel of an earlier agent is left, but those; returns the names of those that went."""
    names = [name for _, name in socket.if_nameindex() if name.startswith(ENDS) and name not in kept]
    for name in names:
        await close(name)
    return names


def pour_into(name: str, interface: str) -> None:
    """What comes out of that destination's end goes into another interface from now on."""
    with opened(f"pouring {name} into {interface}") as ip:
        index = index_of(name)
        ip.tc("del-filter", "u32", index, parent=_INGRESS, prio=2, **_EVERYTHING)
        _redirect(ip, index, interface)


def exists(name: str) -> bool:
    """There is such a tunnel here."""
    with suppress(NotFound):
        return index_of(name) > 0
    return False


def _open_source_end(name: str, bridge: str, vni: int, ends: tuple[str, str]) -> None:
    with opened(f"making the tunnel {name}") as ip:
        link = ip.link("get", index=index_of(bridge))[0]
        _check_mtu(ip, ends[0], link.get_attr("IFLA_MTU"))
        _make(ip, name, vni, ends)
        index = index_of(name)
        try:
            ip.link("set", index=index, mtu=link.get_attr("IFLA_MTU"))
            silence(ip, name, index)
            ip.link("set", index=index, master=link["index"])
            ip.brport("set", index=index, unicast_flood=0, mcast_flood=0, bcast_flood=0, learning=0)
            ip.link("set", index=index, state="up")
        except BaseException:
            ip.link("del", index=index)
            raise


def _open_destination_end(name: str, tap: str, mac: str, tunnel: tuple[int, tuple[str, str]]) -> None:
    with opened(f"making the tunnel {name}") as ip:
        needed = ip.link("get", index=index_of(tap))[0].get_attr("IFLA_MTU")
        _check_mtu(ip, tunnel[1][0], needed)
        _make(ip, name, *tunnel)
        index = index_of(name)
        try:
            ip.link("set", index=index, mtu=needed)
            silence(ip, name, index)
            ip.tc("add", "ingress", index, _INGRESS)
            with Prepared(f"keeping the VM's own frames out of {name}", [_pass_up_what_comes_from(mac, index)]) as do:
                do()
            _redirect(ip, index, tap)
            ip.link("set", index=index, arp=False, state="up")
        except BaseException:
            ip.link("del", index=index)
            raise


def _redirect(ip: Any, index: int, interface: str) -> None:
    into = {"kind": "mirred", "direction": "egress", "action": "redirect", "ifindex": index_of(interface)}
    ip.tc("add-filter", "u32", index, parent=_INGRESS, prio=2, **_EVERYTHING, action=into)


def _make(ip: Any, name: str, vni: int, ends: tuple[str, str]) -> None:
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


def _check_mtu(ip: Any, local: str, needed: int) -> None:
    """The kernel would not say it: it cuts what is too long, or drops it, when it comes."""
    under = [each["index"] for each in ip.addr("dump") if each.get_attr("IFA_ADDRESS") == local]
    mtu = ip.link("get", index=under[0])[0].get_attr("IFLA_MTU") if under else 0
    if mtu < needed + OVERHEAD_BYTES:
        raise Refused(
            f"the VM's frames of {needed} bytes do not fit through the migration network, whose MTU is {mtu}: "
            f"raise that to {needed + OVERHEAD_BYTES} on both hosts and the switches between",
            "relay-mtu",
        )


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


def _close(name: str) -> None:
    with suppress(NotFound), opened(f"removing the tunnel {name}") as ip:
        ip.link("del", index=index_of(name))


def _look(name: str) -> TunnelEnd:
    with opened(f"looking at the tunnel {name}") as ip:
        counters = ip.link("get", index=index_of(name))[0].get_attr("IFLA_STATS64")
        return TunnelEnd(name, sent=counters["tx_packets"], received=counters["rx_packets"])

"""A tap as a port of a Linux bridge: plugged in, muted until the VM lives here, and where the bridge sends its frames.

Muted means that nothing goes out of the port and nothing comes in through it. Its flags keep out what the bridge
floods. They do not stop broadcasts of the host itself, whose address may be on the bridge (the kernel's br_flood
exempts them), so the port is put into the state `disabled` too, which only a bridge without STP allows. The state
`blocking` would not do: any other port that comes up wakes it (br_port_state_selection). A redirect by tc straight
into the tap works all the same.
"""

from __future__ import annotations

import asyncio
import errno
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pyroute2.netlink.exceptions import NetlinkError

from godwit.core.errors import NotFound, Refused
from godwit.network.netlink import (
    NLA_F_NESTED,
    NLM_F_CREATE,
    NLM_F_REPLACE,
    Message,
    Prepared,
    index_of,
    link_message,
    neighbour_message,
    opened,
)

TX_QUEUE_LENGTH = 10_000
"""Frames that wait in the tap's ring while the VM does not run: 30 ms of 333,000 a second."""

FORWARDING_LOOK_S = 0.05
_RTM_NEWLINK, _RTM_SETLINK, _RTM_NEWNEIGH = 16, 19, 28
_AF_BRIDGE = 7
_IFF_UP = 1
_NUD_REACHABLE, _NUD_PERMANENT, _NUD_NOARP = 0x02, 0x80, 0x40
_NTF_MASTER = 0x04
_NTF_STICKY = 0x40
_ADDRGENMODE_NONE = 1
_HIGHEST = "fe"
"""First byte of a tap's own MAC: a bridge takes the lowest MAC of its ports, and must never take a tap's."""
_DISABLED, _FORWARDING = 0, 3
_NO_ROUTER, _ROUTER = 0, 2
"""A port behind which there is never, or always, somebody who wants every multicast group."""
_KERNEL_STP = 1
_NO_IPV6 = (errno.EAFNOSUPPORT, errno.EOPNOTSUPP, errno.EINVAL)


@dataclass(frozen=True)
class _Bridge:
    name: str
    index: int
    mtu: int
    has_stp: bool
    """The kernel decides on the states of its ports then, and a new one hears nothing for at least 4 s."""


async def bridge_exists(name: str) -> bool:
    """Whether there is a bridge of that name here."""
    return await asyncio.to_thread(_is_bridge, name)


async def plug(tap: str, bridge: str, *, muted: bool) -> None:
    """The tap is an up port of the bridge with its MTU, no IPv6 of its own, and room for TX_QUEUE_LENGTH frames.

    A muted one hears and says nothing until it is unmuted. Plugging again is harmless. `NotFound` without such a bridge
    or tap; `Refused` if it shall be muted and the bridge's STP would hold it back; after `Failed` unplug or close it.
    """
    await asyncio.to_thread(_plug, tap, bridge, muted)


async def prepare_unmute(tap: str, mac: str) -> Prepared:
    """A call that unmutes the plugged tap and makes its bridge send that MAC's frames to it, in some 0.05 ms.

    The entry is an ordinary one: it ages, and moves when the MAC is heard elsewhere; one that was static is replaced.
    Only for ports that were plugged muted: the others learn by themselves. Close it when it is no longer needed.
    """
    return await asyncio.to_thread(_prepare_unmute, tap, mac)


async def unmute(tap: str, mac: str) -> None:
    """The port floods and learns, and the bridge sends that MAC's frames to it."""
    with await prepare_unmute(tap, mac) as prepared:
        await asyncio.to_thread(prepared)


async def unplug(tap: str) -> None:
    """The tap, if there is one, is down and a port of no bridge."""
    await asyncio.to_thread(_unplug, tap)


def mtu_of(interface: str) -> int:
    """The longest packet that it takes, without the Ethernet header."""
    with opened(f"looking at {interface}") as ip:
        return int(ip.link("get", index=index_of(interface))[0].get_attr("IFLA_MTU"))


async def is_relayed(port: str, mac: str) -> bool:
    """The bridge of that port, if there is one, sends the VM's frames to it by an entry that nothing moves."""
    return await asyncio.to_thread(_is_relayed, port, mac)


async def until_forwarding(names: Sequence[str], *, longest_s: float) -> bool:
    """These ports let frames pass, or still do not after that time: a kernel that runs STP makes new ones wait."""
    for _ in range(int(longest_s / FORWARDING_LOOK_S)):
        if await asyncio.to_thread(_all_forwarding, names):
            return True
        await asyncio.sleep(FORWARDING_LOOK_S)
    return await asyncio.to_thread(_all_forwarding, names)


async def forget(bridge: str, mac: str) -> None:
    """The bridge holds no static, sticky or local entry of that MAC; what it learned stays."""
    await asyncio.to_thread(_forget, bridge, mac)


def to_relay(mac: str, port: int) -> list[Message]:
    """Orders, by the interface's number: the bridge sends the VM's frames, and what it floods, to that port too.

    The entry is sticky: learning, from frames of the VM that come back by the uplink, does not move it.
    """
    return [_entry(port, mac, is_fixed=True), *to_port(port, is_open=True)]


def to_port(index: int, *, is_open: bool) -> list[Message]:
    """Orders: the bridge gives that port of a relay all broadcasts and multicasts, whoever asked for these, or none."""
    names = ("MCAST_FLOOD", "BCAST_FLOOD")
    router = ("IFLA_BRPORT_MULTICAST_ROUTER", _ROUTER if is_open else _NO_ROUTER)
    return [_port(index, [*((f"IFLA_BRPORT_{name}", int(is_open)) for name in names), router])]


def to_tap(mac: str, tap: int, *, has_stp: bool) -> list[Message]:
    """Orders: the bridge sends the VM's frames to its tap, which is open as `shut` found it."""
    return [*_opened(tap, has_stp=has_stp), _entry(tap, mac)]  # in this order: a port that is shut may have no entry


def shut(tap: int, *, has_stp: bool) -> list[Message]:
    """Orders: the bridge gives a VM's tap nothing that it floods, nor frames of its groups, unless the kernel's STP
    decides on its ports (and then those for its groups come to the tap too).
    """
    return [_floods(tap, is_open=False), *([] if has_stp else [_state(tap, _DISABLED)])]


async def open_again(tap: str, bridge: str) -> None:
    """A tap that was `shut` is open, if it is there."""
    with suppress(NotFound):
        await asyncio.to_thread(_open_again, tap, bridge)


def has_stp(bridge: str) -> bool:
    """The kernel's STP decides on the states of that bridge's ports."""
    with opened(f"looking at {bridge}") as ip:
        return _bridge(ip, bridge).has_stp


def _is_bridge(name: str) -> bool:
    with suppress(NotFound), opened(f"looking for bridge {name}") as ip:
        _bridge(ip, name)
        return True
    return False


def _bridge(ip: Any, name: str) -> _Bridge:
    try:
        link = ip.link("get", index=index_of(name))[0]
    except NotFound as error:
        raise NotFound(f"there is no bridge {name} here: `ip link add {name} type bridge` makes one") from error
    information = link.get_attr("IFLA_LINKINFO")
    if information is None or information.get_attr("IFLA_INFO_KIND") != "bridge":
        raise NotFound(
            f"{name} is no bridge: name one in the agent's configuration; `ip link show type bridge` lists them"
        )
    data = information.get_attr("IFLA_INFO_DATA")
    return _Bridge(name, link["index"], link.get_attr("IFLA_MTU"), data.get_attr("IFLA_BR_STP_STATE") == _KERNEL_STP)


def _plug(tap: str, bridge: str, muted: bool) -> None:
    what = f"plugging {tap} into bridge {bridge}"
    with opened(what) as ip:
        there = _bridge(ip, bridge)
        if muted and there.has_stp:
            raise Refused(
                f"bridge {bridge} runs STP, and a VM that arrives would wait for it: "
                f"`ip link set {bridge} type bridge stp_state 0`, if no loop of cables needs it",
                "stp",
            )
        index = make_ready(ip, tap, there.mtu)
        ip.link("set", index=index, master=there.index)
        closed = [_state(index, _DISABLED)] if muted else []
        with Prepared(what, [_flags(index, is_open=not muted), _up(index), *closed]) as do:
            do()


def _prepare_unmute(tap: str, mac: str) -> Prepared:
    what = f"giving {mac} to port {tap}"
    index = index_of(tap)
    with opened(what) as ip:
        if ip.link("get", index=index)[0].get_attr("IFLA_MASTER") is None:
            raise Refused(f"{tap} is plugged into no bridge: plug it first")
    return Prepared(what, [_flags(index, is_open=True), _state(index, _FORWARDING), _entry(index, mac)])


def _opened(tap: int, *, has_stp: bool) -> list[Message]:
    return [_floods(tap, is_open=True), *([] if has_stp else [_state(tap, _FORWARDING)])]


def _open_again(tap: str, bridge: str) -> None:
    with Prepared(f"opening port {tap}", _opened(index_of(tap), has_stp=has_stp(bridge))) as do:
        do()


def _unplug(tap: str) -> None:
    with suppress(NotFound), opened(f"unplugging {tap}") as ip:
        ip.link("set", index=index_of(tap), state="down", master=0)


def _is_relayed(port: str, mac: str) -> bool:
    with suppress(NotFound), opened(f"looking for {mac} at {port}") as ip:
        index = index_of(port)
        return any(each["ifindex"] == index and each["flags"] & _NTF_STICKY for each in ip.fdb("dump", lladdr=mac))
    return False


def _all_forwarding(names: Sequence[str]) -> bool:
    with opened(f"looking at {', '.join(names)}") as ip:
        return all(is_forwarding(ip.link("get", index=index_of(name))[0]) for name in names)


def is_forwarding(link: Any) -> bool:
    """Whether that port of a bridge (a link as pyroute2 has it) lets frames pass."""
    data = link.get_nested("IFLA_LINKINFO", "IFLA_INFO_SLAVE_DATA")
    return data is not None and data.get_attr("IFLA_BRPORT_STATE") == _FORWARDING


def _forget(bridge: str, mac: str) -> None:
    with opened(f"removing old entries of {mac} from bridge {bridge}") as ip:
        master = _bridge(ip, bridge).index
        for entry in list(ip.fdb("dump", lladdr=mac)):
            is_fixed = entry["state"] & (_NUD_PERMANENT | _NUD_NOARP) or entry["flags"] & _NTF_STICKY
            if entry.get_attr("NDA_MASTER") == master and is_fixed:
                with suppress(NetlinkError):  # gone by itself
                    ip.fdb("del", ifindex=entry["ifindex"], lladdr=mac, flags=_NTF_MASTER)


def attach(ip: Any, name: str, bridge: Any) -> None:
    """An up port of the bridge (a link as pyroute2 has it) that neither learns nor floods, nor gives it its address."""
    index = make_ready(ip, name, bridge.get_attr("IFLA_MTU"))
    ip.link("set", index=index, master=bridge["index"])
    ip.brport("set", index=index, unicast_flood=0, mcast_flood=0, bcast_flood=0, learning=0)
    ip.link("set", index=index, state="up")


def make_ready(ip: Any, name: str, mtu: int) -> int:
    """The interface says nothing by itself, has room for frames that wait, and a MAC that no bridge takes for its own;
    returns its number.
    """
    index = index_of(name)
    silence(ip, name, index)
    address = _HIGHEST + ip.link("get", index=index)[0].get_attr("IFLA_ADDRESS")[2:]
    ip.link("set", index=index, address=address, mtu=mtu, txqlen=TX_QUEUE_LENGTH)
    return index


def silence(ip: Any, tap: str, index: int) -> None:
    """The host makes no link-local address for that interface, and so has nothing to say through it."""
    off = {"attrs": [("AF_INET6", {"attrs": [("IFLA_INET6_ADDR_GEN_MODE", _ADDRGENMODE_NONE)]})]}
    try:
        ip.link("set", index=index, IFLA_AF_SPEC=off)
    except NetlinkError as error:
        if error.code not in _NO_IPV6:
            raise
    with suppress(OSError):  # read-only in a container, absent without IPv6: the line above is enough then
        Path(f"/proc/sys/net/ipv6/conf/{tap}/disable_ipv6").write_text("1")


def _flags(index: int, *, is_open: bool) -> Message:
    names = ("UNICAST_FLOOD", "MCAST_FLOOD", "BCAST_FLOOD", "LEARNING")
    return _port(index, [(f"IFLA_BRPORT_{name}", int(is_open)) for name in names])


def _floods(index: int, *, is_open: bool) -> Message:
    return _port(index, [("IFLA_BRPORT_MCAST_FLOOD", int(is_open)), ("IFLA_BRPORT_BCAST_FLOOD", int(is_open))])


def _state(index: int, state: int) -> Message:
    return _port(index, [("IFLA_BRPORT_STATE", state)])


def _port(index: int, attributes: list[tuple[str, int]]) -> Message:
    """Over AF_BRIDGE, because every order by RTM_NEWLINK that changes a port wakes a disabled one."""
    message = link_message()
    message["family"], message["index"] = _AF_BRIDGE, index
    message["attrs"] = [("IFLA_PROTINFO", {"attrs": attributes}, NLA_F_NESTED)]
    return _RTM_SETLINK, 0, message


def _up(index: int) -> Message:
    message = link_message()
    message["index"], message["flags"], message["change"] = index, _IFF_UP, _IFF_UP
    return _RTM_NEWLINK, 0, message


def _entry(index: int, mac: str, *, is_fixed: bool = False) -> Message:
    message = neighbour_message()
    message["family"], message["ifindex"] = _AF_BRIDGE, index
    message["state"] = _NUD_NOARP if is_fixed else _NUD_REACHABLE
    message["flags"] = _NTF_MASTER | (_NTF_STICKY if is_fixed else 0)
    message["attrs"] = [("NDA_LLADDR", mac)]
    return _RTM_NEWNEIGH, NLM_F_CREATE | NLM_F_REPLACE, message

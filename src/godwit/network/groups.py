"""The multicast groups of a VM: what a bridge that looks into IGMP and MLD (multicast snooping) knows of its port.

Such a bridge gives a group's frames only to ports that asked for it, as soon as there is a querier. A VM that has just
come has not asked yet, so what its old bridge knew is told to the new one.
"""

from __future__ import annotations

import asyncio
import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address
from typing import Any

from godwit.network import kernel_words
from godwit.network.kernel_words import attribute, attributes
from godwit.network.netlink import NLM_F_CREATE, NLM_F_REPLACE, Message, Prepared, index_of, opened

_RTM_NEWMDB, _RTM_GETMDB = 84, 86
_AF_BRIDGE = 7
_PORT = struct.Struct("=Bxxxi")
_ENTRY = struct.Struct("=iBBH16s")
_TYPE = struct.Struct("!Hxx")
"""The last field of an entry, in the network's byte order."""
_IPV4, _IPV6 = 0x0800, 0x86DD
_MDB, _MDB_ENTRY, _ENTRY_INFO, _SET_ENTRY = 1, 1, 1, 1
_SOURCE = 4
_TEMPORARY = 0


@dataclass(frozen=True)
class Group:
    """One group, on one VLAN of the bridge (0: it has none)."""

    address: IPv4Address | IPv6Address
    vlan: int = 0


async def of_port(tap: str) -> tuple[Group, ...]:
    """The groups that its bridge knows somebody behind that port to be in."""
    return await asyncio.to_thread(_of_port, tap)


async def prepare_joining(tap: str, groups: Sequence[Group]) -> Prepared:
    """A call that tells the tap's bridge of them, as if the VM had asked: they age. The port must be forwarding then.

    Close it when it is no longer needed. They go with the port.
    """
    return await asyncio.to_thread(_prepare_joining, tap, groups)


def _of_port(tap: str) -> tuple[Group, ...]:
    index = index_of(tap)
    answers = kernel_words.ask(kernel_words.ROUTE, _RTM_GETMDB, _PORT.pack(_AF_BRIDGE, 0))
    return tuple(dict.fromkeys(group for port, group in entries(answers) if port == index))


def _prepare_joining(tap: str, groups: Sequence[Group]) -> Prepared:
    what = f"telling the bridge of {tap} which multicast groups the VM is in"
    with opened(what) as ip:
        index = index_of(tap)
        bridge = ip.link("get", index=index)[0].get_attr("IFLA_MASTER")
    return Prepared(what, [_joining(bridge, index, group) for group in groups])


def entries(answers: Sequence[bytes]) -> Iterator[tuple[int, Group]]:
    """Port and group, out of what the kernel answers; entries for one sender only (IGMPv3) are left out."""
    for answer in answers:
        for _, databases in _within(answer[_PORT.size :], _MDB):
            for _, entry in _within(databases, _MDB_ENTRY):
                for _, info in _within(entry, _ENTRY_INFO):
                    yield from _entry(info)


def _within(data: bytes, kind: int) -> Iterator[tuple[int, bytes]]:
    return ((found, value) for found, value in attributes(data) if found == kind)


def _entry(info: bytes) -> Iterator[tuple[int, Group]]:
    port, _, _, vlan, address = _ENTRY.unpack_from(info)
    (kind,) = _TYPE.unpack_from(info, _ENTRY.size)
    has_source = any(found == _SOURCE for found, _ in attributes(info[_ENTRY.size + _TYPE.size :]))
    if kind == _IPV4 and not has_source:
        yield port, Group(IPv4Address(address[:4]), vlan)
    elif kind == _IPV6 and not has_source:
        yield port, Group(IPv6Address(address), vlan)


def _joining(bridge: int, port: int, group: Group) -> Message:
    entry = _ENTRY.pack(port, _TEMPORARY, 0, group.vlan, group.address.packed)
    kind: Any = _IPV4 if group.address.version == 4 else _IPV6
    body = _PORT.pack(_AF_BRIDGE, bridge) + attribute(_SET_ENTRY, entry + _TYPE.pack(kind))
    return _RTM_NEWMDB, NLM_F_CREATE | NLM_F_REPLACE, body

"""The connections of a VM that the host's kernel keeps track of for its packet filter (conntrack), as it tells of them.

A bridge that hands its frames to the packet filter (`bridge-nf-call-iptables`) tracks what its VMs say. A filter that
lets through only what belongs to a connection would stop those of a VM that has just come, so what the old host knows
of them is told to the new one. The kernel is told not to mind their sequence numbers: while the relay stands, neither
host sees both directions.

A flow is a message of the kernel's as bytes: the family of its addresses, and the attributes that another host can use.
"""

from __future__ import annotations

import asyncio
import errno
import socket
import struct
from collections.abc import Collection, Iterator, Sequence
from contextlib import suppress
from ipaddress import IPv4Address, IPv6Address
from pathlib import Path

from godwit.core.errors import Failed
from godwit.network import kernel_words
from godwit.network.kernel_words import attribute, attributes, nested

Address = IPv4Address | IPv6Address

TRACKED = Path("/proc/sys/net/netfilter/nf_conntrack_count")
"""How many flows the kernel keeps track of in our network namespace (net/netfilter/nf_conntrack_standalone.c)."""
FEW = 1000
"""So many are told at once sooner than the kernel finds ours: for each question it walks through its whole table."""

_NEW, _GET, _DELETE = 0x100, 0x101, 0x102
_CREATE, _EXCLUSIVE = 0x400, 0x200
_HEADER = struct.Struct("=BBH")
_NUMBER = struct.Struct("!I")
_TUPLE_ORIG, _TUPLE_REPLY, _STATUS, _PROTOCOL, _TIMEOUT, _MARK, _ZONE, _FILTER = 1, 2, 3, 4, 7, 8, 18, 25
_TUPLE_IP = 1
_IPV4_SENDER, _IPV4_RECEIVER = 1, 2
_FILTER_ORIG, _BY_SENDER, _BY_RECEIVER = 1, 1, 2
_SEEN_REPLY, _ASSURED, _CONFIRMED = 2, 4, 8
_TRANSLATED = 0x10 | 0x20
_TCP, _TCP_FLAGS = 1, (4, 5)
_LIBERAL = 0x08


async def of(addresses: Collection[Address]) -> list[bytes]:
    """The flows from and to these addresses; none where the kernel tracks none, or will not tell."""
    return await asyncio.to_thread(_of, addresses)


async def add(flows: Sequence[bytes]) -> list[bytes]:
    """The kernel knows them; returns those that it did not know before. What it refuses is left out."""
    return await asyncio.to_thread(_add, flows)


async def remove(flows: Sequence[bytes]) -> None:
    """The kernel knows none of them."""
    await asyncio.to_thread(_order, _DELETE, 0, [name_of(flow) for flow in flows])


async def be_liberal(flows: Sequence[bytes], *, is_on: bool = True) -> None:
    """The kernel does not mind their sequence numbers, or minds them again; what it does not know stays unknown."""
    await asyncio.to_thread(_order, _NEW, 0, list(flows) if is_on else [_strict(flow) for flow in flows])


def _of(addresses: Collection[Address]) -> list[bytes]:
    found: dict[bytes, bytes] = {}
    for question in _questions(addresses, _tracked()):
        with suppress(Failed):
            for answer in kernel_words.ask(kernel_words.NETFILTER, _GET, question):
                found |= {name_of(flow): flow for flow in usable(answer, addresses)}
    return list(found.values())


def _tracked() -> int:
    """Flows of whomever; none where there is no connection tracking, many where we may not know."""
    try:
        return int(TRACKED.read_text())
    except FileNotFoundError:
        return 0
    except OSError:
        return FEW + 1


def _questions(addresses: Collection[Address], tracked: int) -> list[bytes]:
    if not addresses or not tracked:
        return []
    if tracked <= FEW:
        return [_HEADER.pack(socket.AF_UNSPEC, 0, 0)]
    return list(dict.fromkeys(question for address in addresses for question in _questions_about(address)))


def _questions_about(address: Address) -> Iterator[bytes]:
    """For what it sent first, and for what was sent to it first. Kernels of before 5.8 do not understand that and tell
    everything; those of today understand the opposite of an IPv6 address, and so are asked for everything.
    """
    if address.version == 6:
        yield _HEADER.pack(socket.AF_INET6, 0, 0)
        return
    for end, flag in ((_IPV4_SENDER, _BY_SENDER), (_IPV4_RECEIVER, _BY_RECEIVER)):
        ip = nested(_TUPLE_IP, [attribute(end, address.packed)])
        by = nested(_FILTER, [attribute(_FILTER_ORIG, struct.pack("=I", flag))])
        yield _HEADER.pack(socket.AF_INET, 0, 0) + nested(_TUPLE_ORIG, [ip]) + by


def _add(flows: Sequence[bytes]) -> list[bytes]:
    codes = _order(_NEW, _CREATE | _EXCLUSIVE, flows)
    known = [flow for flow, code in zip(flows, codes, strict=True) if code == errno.EEXIST]
    _order(_NEW, 0, known)
    return [flow for flow, code in zip(flows, codes, strict=True) if code == 0]


def _order(kind: int, flags: int, flows: Sequence[bytes]) -> list[int]:
    return kernel_words.order(kernel_words.NETFILTER, kind, flags, flows) if flows else []


def usable(answer: bytes, addresses: Collection[Address]) -> Iterator[bytes]:
    """The flow that the kernel tells of, if it is of one of the addresses and nothing was translated (NAT)."""
    parts = dict(attributes(answer[_HEADER.size :]))
    (status,) = _NUMBER.unpack(parts[_STATUS])
    if status & _TRANSLATED or not set(_addresses(parts[_TUPLE_ORIG])) & {each.packed for each in addresses}:
        return
    kept = [nested(kind, [parts[kind]]) for kind in (_TUPLE_ORIG, _TUPLE_REPLY)]
    kept.append(attribute(_STATUS, _NUMBER.pack(status & (_SEEN_REPLY | _ASSURED) | _CONFIRMED)))
    if _PROTOCOL in parts:
        kept.append(nested(_PROTOCOL, _protocol(parts[_PROTOCOL], _LIBERAL)))
    kept += [attribute(kind, parts[kind]) for kind in (_TIMEOUT, _MARK, _ZONE) if kind in parts]
    yield _HEADER.pack(answer[0], 0, 0) + b"".join(kept)


def _addresses(ends: bytes) -> list[bytes]:
    return [address for kind, ip in attributes(ends) if kind == _TUPLE_IP for _, address in attributes(ip)]


def _protocol(data: bytes, liberal: int) -> Iterator[bytes]:
    """Its state, and of TCP that it is liberal or not (a flag and a mask of those that are set, for each direction)."""
    for kind, state in attributes(data):
        if kind != _TCP:
            yield nested(kind, [state])
            continue
        flags = [
            attribute(each, bytes([value[0] & ~_LIBERAL | liberal, 0xFF]) if each in _TCP_FLAGS else value)
            for each, value in attributes(state)
        ]
        yield nested(kind, flags)


def _strict(flow: bytes) -> bytes:
    parts = [
        nested(kind, _protocol(value, 0)) if kind == _PROTOCOL else _again(kind, value)
        for kind, value in attributes(flow[_HEADER.size :])
    ]
    return flow[: _HEADER.size] + b"".join(parts)


def _again(kind: int, value: bytes) -> bytes:
    return nested(kind, [value]) if kind in (_TUPLE_ORIG, _TUPLE_REPLY) else attribute(kind, value)


def name_of(flow: bytes) -> bytes:
    """What stays the same about it, and what the kernel needs to find it."""
    parts = dict(attributes(flow[_HEADER.size :]))
    zone = [attribute(_ZONE, parts[_ZONE])] if _ZONE in parts else []
    return flow[: _HEADER.size] + b"".join([nested(_TUPLE_ORIG, [parts[_TUPLE_ORIG]]), *zone])

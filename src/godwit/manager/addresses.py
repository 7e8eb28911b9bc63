"""Addresses for new network cards: pure choices over what is taken."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from ipaddress import IPv4Address, IPv4Interface, IPv6Interface
from typing import TypeVar

from godwit.core.errors import Invalid, Refused
from godwit.core.model import Nic, Value
from godwit.core.resources import NicRequest

Interface = TypeVar("Interface", IPv4Interface, IPv6Interface)

MAC_PREFIX = "52:54:00"
"""What QEMU's own addresses begin with (locally administered)."""


class Pool(Value):
    """The addresses that a network hands out."""

    first: IPv4Address
    last: IPv4Address
    prefix_length: int


def parse_pool(text: str) -> Pool:
    """`10.90.0.100-10.90.0.199/24` as a value; `Invalid` if it is not of that form."""
    addresses, _, length = text.partition("/")
    first, _, last = addresses.partition("-")
    try:
        pool = Pool(first=IPv4Address(first), last=IPv4Address(last), prefix_length=int(length))
        network = IPv4Interface(f"{pool.first}/{pool.prefix_length}").network
    except ValueError:
        raise Invalid(f"a pool is written like 10.90.0.100-10.90.0.199/24, not {text!r}") from None
    if pool.last < pool.first or pool.last not in network:
        raise Invalid(f"the pool {text!r} does not run from a lower to a higher address of one network")
    return pool


def next_free(pool: Pool, taken: Collection[IPv4Address]) -> IPv4Interface | None:
    """The lowest address of the pool that nobody has; none when all are taken."""
    for number in range(int(pool.first), int(pool.last) + 1):
        if IPv4Address(number) not in taken:
            return IPv4Interface(f"{IPv4Address(number)}/{pool.prefix_length}")
    return None


def free_mac(numbers: Iterable[int], taken: Collection[str]) -> str:
    """The first of these numbers (24 bits each) as an address that nobody has."""
    for number in numbers:
        mac = ":".join([MAC_PREFIX, *(f"{each:02x}" for each in number.to_bytes(3, "big"))])
        if mac not in taken:
            return mac
    raise Refused("no MAC address is free: delete a VM", "no-mac")


def make_nic(request: NicRequest, *, pool: str | None, taken: Collection[Nic], numbers: Iterable[int]) -> Nic:
    """The card asked for, with addresses that none of the `taken` has; `Refused` if that cannot be."""
    length = f"/{parse_pool(pool).prefix_length}" if pool else ""
    ip = _named(request.ip, IPv4Interface, length) if request.ip else _from_pool(request.network, pool, taken)
    ip6 = _named(request.ip6, IPv6Interface) if request.ip6 else None
    used = {each.ip for nic in taken if nic.network == request.network for each in (nic.ip, nic.ip6) if each}
    for asked in (ip, ip6):
        if asked and asked.ip in used:
            raise Refused(f"{asked.ip} is in use on network {request.network}: name another, or none", "ip-in-use")
    macs = {nic.mac for nic in taken}
    if request.mac and request.mac in macs:
        raise Refused(f"MAC address {request.mac} is in use: name another, or none", "mac-in-use")
    return Nic(network=request.network, mac=request.mac or free_mac(numbers, macs), ip=ip, ip6=ip6)


def _from_pool(network: str, pool: str | None, taken: Collection[Nic]) -> IPv4Interface | None:
    if pool is None:
        return None
    used = {nic.ip.ip for nic in taken if nic.network == network and nic.ip}
    free = next_free(parse_pool(pool), used)
    if free is None:
        raise Refused(f"all addresses of network {network} ({pool}) are in use: delete a VM, or name one", "pool-empty")
    return free


def _named(text: str, kind: type[Interface], length: str = "") -> Interface:
    """With that prefix length if the text has none; `Invalid` without any, which would mean a guest alone."""
    whole = text if "/" in text else text + length
    try:
        named = kind(whole)
    except ValueError:
        named = None
    if named is None or "/" not in whole:
        example = "10.90.0.7/24" if kind is IPv4Interface else "fd00::7/64"
        raise Invalid(f"{text!r} is no address with a prefix length: write it like {example}", "ip")
    return named

"""Does the guest behind a tap answer? It is asked by ARP from within its host, so that no switch hears of it."""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import Collection
from contextlib import suppress
from ipaddress import IPv4Address

from godwit.network.frames import arp_probe
from godwit.network.netlink import index_of, opened
from godwit.network.packet import OUTGOING, hearing

EVERY_S = 0.2
LONGEST_S = 1.0

_ARP = 0x0806


async def answers(tap: str, bridge: str, addresses: Collection[IPv4Address]) -> dict[IPv4Address, float]:
    """By address, after how many milliseconds it answered; those that did not within a second are left out.

    The question has the bridge's own address as sender, so that the answer goes to this host and no further.
    """
    asker = await asyncio.to_thread(_mac_of, bridge)
    with hearing(tap, (_ARP,), most_bytes=128) as listening:
        return await _asked(listening, asker, set(addresses))


async def _asked(listening: socket.socket, asker: bytes, waiting: set[IPv4Address]) -> dict[IPv4Address, float]:
    loop = asyncio.get_running_loop()
    heard: dict[IPv4Address, float] = {}
    all_came = asyncio.Event()
    begun = time.monotonic()

    def read() -> None:
        try:
            data, address = listening.recvfrom(128)
        except OSError:  # told once, of a tap that is or was down
            return
        ip = _answerer(data) if address[2] != OUTGOING else None
        if ip in waiting:
            heard.setdefault(ip, (time.monotonic() - begun) * 1000)
            if heard.keys() >= waiting:
                all_came.set()

    loop.add_reader(listening, read)
    try:
        while waiting - heard.keys() and time.monotonic() - begun < LONGEST_S:
            for each in waiting - heard.keys():
                with suppress(OSError):  # it is down: no answer, then
                    listening.send(arp_probe(asker, each))
            with suppress(TimeoutError):
                async with asyncio.timeout(EVERY_S):
                    await all_came.wait()
    finally:
        loop.remove_reader(listening)
    return heard


def _answerer(data: bytes) -> IPv4Address | None:
    """Whose ARP reply that is."""
    is_reply = len(data) >= 42 and data[20:22] == b"\0\2"
    return IPv4Address(data[28:32]) if is_reply else None


def _mac_of(bridge: str) -> bytes:
    with opened(f"looking at {bridge}") as ip:
        return bytes.fromhex(ip.link("get", index=index_of(bridge))[0].get_attr("IFLA_ADDRESS").replace(":", ""))

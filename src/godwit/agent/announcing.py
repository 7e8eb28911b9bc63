"""Tells the network where a VM lives now, in every form that a switch or a router may want, until it was seen."""

from __future__ import annotations

import asyncio
import logging
from contextlib import suppress
from ipaddress import IPv4Address
from itertools import chain

from godwit.agent.local import LocalVm, Plug
from godwit.core.errors import GodwitError
from godwit.core.model import Nic
from godwit.core.report import Announcement
from godwit.network import announce, frames
from godwit.network.snoop import Snoop, Spoken
from godwit.qemu import memory

log = logging.getLogger("godwit.agent")

Telling = tuple[str, int | None, bytes]
"""Its kind, its VLAN, and its frame."""

AT_MS = (0, 50, 200, 450, 800, 2000, 5000)
"""After RESUME; then every EVERY_MS."""
EVERY_MS = 10_000
LONGEST_MS = 300_000
ROUNDS = 5
"""Of QEMU's announce-self, which makes the guest's own driver announce: at 0, 50, 200, 450 and 800 ms."""


async def tell_place(vm: LocalVm) -> None:
    """Switches know where a VM is that says nothing by itself; what cannot be told is let be."""
    for plug in vm.passport.plugs:
        with suppress(GodwitError):
            await plug.switch.announce(plug.tap, [frames.rarp(plug.mac)])


class Announcer:
    """Announces one VM that came."""

    def __init__(self, vm: LocalVm) -> None:
        self._vm = vm
        self._task: asyncio.Task[None] | None = None
        self.made: list[Announcement] = []
        """`at_ms` is relative to RESUME."""
        self.left_by: dict[str, None] = {}
        """The interfaces by which they left, in order."""
        self.begun = asyncio.Event()
        self._snoops: dict[str, Snoop] = {}

    def begin(self, resumed_at: float) -> None:
        """Announcing goes on by itself; `resumed_at` is the loop's time of RESUME."""
        self._start(resumed_at, AT_MS)

    def go_on(self) -> None:
        """After the agent's own restart: the network may not have learned yet."""
        self._start(asyncio.get_running_loop().time(), AT_MS[:1])

    def _start(self, resumed_at: float, first: tuple[int, ...]) -> None:
        self._task = asyncio.create_task(self._announce(resumed_at, first), name=f"announce {self._vm.name}")

    async def end(self) -> None:
        """Nothing more is said."""
        if self._task:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        snoops, self._snoops = self._snoops, {}
        for snoop in snoops.values():
            snoop.close()

    async def _announce(self, resumed_at: float, first: tuple[int, ...]) -> None:
        loop = asyncio.get_running_loop()
        for at_ms in chain(first, range(first[-1] + EVERY_MS, LONGEST_MS + EVERY_MS, EVERY_MS)):
            await asyncio.sleep(max(0.0, resumed_at + at_ms / 1000 - loop.time()))
            try:
                await self._round(resumed_at, first=not self.begun.is_set())
            except GodwitError as error:
                log.warning("could not announce %s: %s", self._vm.name, error)
            self.begun.set()

    async def _round(self, resumed_at: float, *, first: bool) -> None:
        at_ms = (asyncio.get_running_loop().time() - resumed_at) * 1000
        for plug, nic in zip(self._vm.passport.plugs, self._vm.passport.spec.nics, strict=True):
            with suppress(GodwitError, OSError):
                told = _told(plug, nic, self._snoop(plug).heard())
                self.left_by |= dict.fromkeys(await plug.switch.announce(plug.tap, [frame for _, _, frame in told]))
                self.made += [Announcement(kind=kind, at_ms=at_ms, vlan=vlan) for kind, vlan, _ in told]
                if first:
                    await announce.ask_for_memberships(plug.tap)
        if first:
            await memory.announce(self._vm.machine.monitor, rounds=ROUNDS)
            self.made.append(Announcement(kind="announce-self", at_ms=at_ms))

    def _snoop(self, plug: Plug) -> Snoop:
        """From the first round on: before, the VM has said nothing."""
        if plug.tap not in self._snoops:
            self._snoops[plug.tap] = Snoop(plug.tap, plug.mac)
        return self._snoops[plug.tap]


def _told(plug: Plug, nic: Nic, heard: list[Spoken]) -> list[Telling]:
    """One RARP in each VLAN, then each address that we gave or heard of."""
    given: list[Spoken] = [(None, each.ip) for each in (nic.ip, nic.ip6) if each]
    spoken = dict.fromkeys([*given, *heard])
    vlans = dict.fromkeys([None, *(vlan for vlan, _ in spoken)])
    told = [("rarp", vlan, frames.rarp(plug.mac)) for vlan in vlans]
    for vlan, address in spoken:
        if isinstance(address, IPv4Address):
            told.append(("gratuitous-arp", vlan, frames.gratuitous_arp(plug.mac, address)))
        else:
            told.append(("unsolicited-na", vlan, frames.unsolicited_na(plug.mac, address)))
    return [(kind, vlan, frame if vlan is None else frames.tagged(frame, vlan)) for kind, vlan, frame in told]

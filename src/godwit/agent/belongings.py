"""What of a VM lies in its host's kernel besides its frames goes along: its multicast groups, and the connections that
the host's packet filter keeps track of. Both are a help, not a condition: what cannot be told is let be.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from contextlib import suppress

from godwit.agent.local import LocalVm, Plug
from godwit.contract.belongings import Belongings, Joined
from godwit.contract.host import Order, Peer
from godwit.core.errors import GodwitError
from godwit.network import flows
from godwit.network.groups import Group
from godwit.network.switch import Call

log = logging.getLogger("godwit.agent")

FLOWS_AT_ONCE = 1000
"""In one message; a message takes 4 MiB."""
TELL_S = 1.0
"""No switch-over waits longer for it."""


class Packing:
    """The source's half. Told before the switch-over may come, and again after it, outside the blackout both times."""

    def __init__(self, vm: LocalVm, order: Order, peer: Peer) -> None:
        self._vm = vm
        self._order = order
        self._peer = peer
        self._is_told = False
        self._told: dict[bytes, bytes] = {}
        """Flows, by what stays the same about them."""

    async def send(self) -> None:
        """The destination knows what our kernel does; ours minds no more that it will see half of what they say."""
        with suppress(GodwitError, TimeoutError):
            async with asyncio.timeout(TELL_S):
                await self._tell()

    async def _tell(self) -> None:
        joined = () if self._is_told else await self._joined()  # the second time, the VM was asked itself
        self._is_told = True
        known = {flows.name_of(flow): flow for flow in await self._flows()}
        new = [flow for name, flow in known.items() if name not in self._told]
        await flows.be_liberal(new)
        self._told |= known
        for first in range(0, max(len(new), 1 if joined else 0), FLOWS_AT_ONCE):
            some = tuple(new[first : first + FLOWS_AT_ONCE])
            await self._peer.take_belongings(Belongings(**self._order.model_dump(), joined=joined, flows=some))

    async def undo(self) -> None:
        """The VM stays: our kernel sees all that it says, and minds it as before."""
        told, self._told = list(self._told.values()), {}
        with suppress(GodwitError):
            await flows.be_liberal(told, is_on=False)

    async def _joined(self) -> tuple[Joined, ...]:
        joined = []
        for nic, plug in enumerate(self._vm.passport.plugs):
            joined += [Joined(nic=nic, group=g.address, vlan=g.vlan) for g in await plug.switch.groups(plug.tap)]
        return tuple(joined)

    async def _flows(self) -> list[bytes]:
        given = [each.ip for nic in self._vm.passport.spec.nics for each in (nic.ip, nic.ip6) if each]
        return await flows.of(given)


class Unpacking:
    """The destination's half."""

    def __init__(self, vm: LocalVm) -> None:
        self._vm = vm
        self._joining: list[Call] = []
        self._added: list[bytes] = []
        self._is_here = False

    async def take(self, told: Belongings) -> None:
        """Our kernel knows the connections, and can be told the groups when the VM comes."""
        with suppress(GodwitError):
            self._added += await flows.add(told.flows)
            if not self._is_here:  # else the VM has been asked itself
                self.close()
                self._joining = [
                    await plug.switch.prepare_joining(plug.tap, plug.mac, which)
                    for plug, which in self._by_plug(told.joined)
                ]

    def commit(self) -> None:
        """The bridges know the groups; some 0.05 ms, because `cont` waits for it."""
        self._is_here = True
        for join in self._joining:
            try:
                join()
            except GodwitError as error:
                log.warning("%s may miss multicasts for a moment: %s", self._vm.name, error)

    async def undo(self) -> None:
        """The VM does not come: our kernel forgets what it knew from us only."""
        added, self._added = self._added, []
        with suppress(GodwitError):
            await flows.remove(added)

    def close(self) -> None:
        """Nothing is held open."""
        joining, self._joining = self._joining, []
        for each in joining:
            each.close()

    def _by_plug(self, joined: Sequence[Joined]) -> list[tuple[Plug, list[Group]]]:
        plugs = self._vm.passport.plugs
        mine = [[Group(each.group, each.vlan) for each in joined if each.nic == nic] for nic in range(len(plugs))]
        return [(plug, which) for plug, which in zip(plugs, mine, strict=True) if which]

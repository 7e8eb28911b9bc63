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
FRESH_S = 2.0
"""What was told so lately need not be told again before the switch-over: the VM is asked for its groups on arrival."""


class Packing:
    """The source's half. Told when the copying begins, before the switch-over may come, and what is new after it."""

    def __init__(self, vm: LocalVm, order: Order, peer: Peer) -> None:
        self._vm = vm
        self._order = order
        self._peer = peer
        self._sending = asyncio.Lock()
        self._told_at_s = -FRESH_S
        self._told: dict[bytes, bytes] = {}
        """Flows, by what stays the same about them."""
        self._last: asyncio.Task[None] | None = None

    async def send(self) -> None:
        """The destination knows what our kernel does; ours minds no more that it will see half of what they say."""
        async with self._sending:
            now_s = asyncio.get_running_loop().time()
            if now_s - self._told_at_s >= FRESH_S:
                self._told_at_s = now_s
                await self._send(with_groups=True)

    def send_last(self) -> None:
        """The VM has left, where it is asked for its groups itself: the destination hears of its newest connections."""
        if self._last is None:
            self._last = asyncio.create_task(self._send(with_groups=False), name=f"last belongings of {self._vm.name}")

    async def sent(self) -> None:
        """Nothing is being told any more."""
        if self._last:
            await asyncio.shield(self._last)

    async def _send(self, *, with_groups: bool) -> None:
        with suppress(GodwitError, TimeoutError):
            async with asyncio.timeout(TELL_S):
                await self._tell(await self._joined() if with_groups else ())

    async def _tell(self, joined: tuple[Joined, ...]) -> None:
        known = {flows.name_of(flow): flow for flow in await self._flows()}
        new = [flow for name, flow in known.items() if name not in self._told]
        self._told |= known
        await flows.be_liberal(new)
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

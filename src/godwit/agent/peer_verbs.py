"""The agent's verbs for other agents, each a line to whoever does it."""

from __future__ import annotations

import time

from godwit.agent.incoming import Incoming
from godwit.agent.relays import Relays
from godwit.agent.testifying import from_journal
from godwit.agent.vms import Vms
from godwit.contract.host import Belongings, Go, GoAnswer, Heard, Meet, Met, Nothing, Order
from godwit.core.config import AgentConfig
from godwit.qemu import secrecy


class PeerVerbs:
    """Those of contract.host.Peer that the manager has not as well."""

    _config: AgentConfig
    _vms: Vms
    _incoming: dict[str, Incoming]
    _relays: Relays

    async def meet(self, request: Meet, /) -> Met:
        """This host's clock, and whether it waits for that move."""
        incoming = self._incoming_of(request.order)
        key = secrecy.read_key(incoming.key_place) if incoming and request.wants_key else ""
        return Met(unix_ms=time.time() * 1000, ready=incoming is not None, key=key)

    async def go(self, request: Go, /) -> GoAnswer:
        """The VM runs here, or never will."""
        if incoming := self._incoming_of(request.order()):
            return await incoming.go(request)
        return from_journal(self._vms.owner(request.vm), request, host=self._config.host)

    async def take_belongings(self, request: Belongings, /) -> Nothing:
        """What the kernel knew of the VM at its source, ours knows too."""
        if incoming := self._incoming_of(request):
            await incoming.belongings.take(request)
        return Nothing()

    async def heard(self, request: Order, /) -> Heard:
        """What came for the VM so far."""
        incoming = self._incoming_of(request)
        return await incoming.heard() if incoming and self._vms.has(request.vm) else Heard(moved_on=True)

    async def relay_ended(self, request: Order, /) -> Nothing:
        """Our end of the relay is gone."""
        if incoming := self._incoming_of(request):
            await incoming.relay_ended()
            if self._vms.has(request.vm):
                self._vms.note(request.vm, relayed=None)
        return Nothing()

    async def end_relay(self, request: Order, /) -> Nothing:
        """The VM moves on: a relay to its last place ends, if that was seen."""
        await self._relays.end(request, anyway=False)
        return Nothing()

    async def vm_is_off(self, request: Order, /) -> Nothing:
        """A relay to where the VM was is gone, seen or not."""
        await self._relays.end(request, anyway=True)
        return Nothing()

    def _incoming_of(self, order: Order) -> Incoming | None:
        incoming = self._incoming.get(order.vm)
        return incoming if incoming and incoming.order == order.order() else None

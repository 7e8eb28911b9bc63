"""The relays of this host: of each VM that goes or went, the last one; the same ones after the agent's restart."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from godwit.agent.local import LocalVm, Place
from godwit.agent.relaying import Home, Relay
from godwit.agent.standing import RelayRecord
from godwit.contract.host import Order, Peer, PrepareIncoming, PrepareOutgoing, Relayed
from godwit.core.config import AgentConfig
from godwit.core.errors import GodwitError
from godwit.core.report import RelayEnd
from godwit.network import switches, tunnel

log = logging.getLogger("godwit.agent")

TELL_S = 3.0
"""How long another agent may take to hear what it would notice by itself in the end."""


class Relays:
    """By VM."""

    def __init__(self, config: AgentConfig, peers: Callable[[str, str], Peer]) -> None:
        """`peers` are other hosts' agents, by host and address."""
        self._config = config
        self._peers = peers
        self._all: dict[str, Relay] = {}

    async def find_again(self, here: list[LocalVm]) -> None:
        """What earlier agents left goes on: relays of VMs that went or are going, ends of those that came or come."""
        kept = {tunnel.inbound_name(plug.tap) for vm in here if _comes(vm) for plug in vm.passport.plugs}
        for file in sorted((self._config.state_dir / "vms").glob("*/relay.json")):
            with suppress(ValueError, GodwitError):  # of an older godwit, or cut off; or its bridge is gone
                record = RelayRecord.model_validate_json(file.read_text())
                relay = await Relay.found_again(record, self._peer_of(record.request), self._home(file))
                self._all[record.request.vm] = relay
                kept |= record.interfaces
        dropped = await tunnel.close_all_but(kept)
        dropped += await switches.remove_dead_ports(kept)
        if dropped:
            log.warning("parts of relays that nobody needs were removed: %s", ", ".join(dropped))

    def has(self, request: PrepareOutgoing) -> bool:
        """There is one of that move, laid or ready."""
        return self._of(request) is not None

    async def lay(self, vm: LocalVm, request: PrepareOutgoing) -> None:
        """The relay of a VM that is about to go is there, so that it can soon be ready."""
        await (await self._made(vm, request)).lay(vm)

    async def prepare(self, vm: LocalVm, request: PrepareOutgoing, *, is_proven: bool = False) -> tuple[str, ...]:
        """The relay of a VM that is about to go is ready; returns what a person should know of it."""
        relay = await self._made(vm, request)
        await relay.prepare(vm, is_proven=is_proven)
        return relay.notes

    async def _made(self, vm: LocalVm, request: PrepareOutgoing) -> Relay:
        if (old := self._all.get(vm.name)) and old.order != request.order():
            await old.end(anyway=True)  # of an earlier migration; it would keep QEMU's second monitor
            old = None
        record = RelayRecord(request=request, plugs=vm.passport.plugs)
        home = self._home(Place.of(self._config, vm.name).relay)
        relay = self._all[vm.name] = old or Relay(record, self._peer_of(request), home)
        return relay

    async def prepare_again(self, vm: LocalVm, request: PrepareOutgoing) -> None:
        """After our own restart; the VM can go without."""
        try:
            await self.prepare(vm, request, is_proven=True)
        except (GodwitError, OSError) as error:  # a dead QEMU has no taps to relay from
            log.error("frames for %s may be lost when it goes: %s", vm.name, error)

    async def settle(self, vm: str) -> None:
        """The VM runs at the destination, whatever becomes of its relay: what failed is tried when asked again."""
        if relay := self._all.get(vm):
            try:
                await relay.settle()
            except (GodwitError, OSError) as error:
                log.error("the relay of %s stands as it was when the VM went: %s", vm, error)

    async def part(self, vm: str) -> None:
        """The VM's tap and QEMU here are not needed any more."""
        if relay := self._all.get(vm):
            await relay.part()

    async def end(self, order: Order, *, anyway: bool) -> None:
        """The relay of that migration, if there is one, is gone if the VM's new place was learned, or anyway."""
        if relay := self._of(order):
            await relay.end(anyway=anyway)

    async def end_here(self, vm: str) -> None:
        """That VM is about to start here: a relay that leads its frames elsewhere, of which nobody told us that it has
        no use any more, is gone.
        """
        if relay := self._all.get(vm):
            await relay.end(anyway=True)

    async def end_before(self, came: PrepareIncoming) -> None:
        """The VM that came to us so goes on: a relay at its old host ends, unless it is needed still."""
        with suppress(GodwitError):
            await self._peers(came.source, came.source_peer_address).end_relay(came.order())

    async def end_of(self, came: PrepareIncoming) -> None:
        """The VM that came to us so was switched off: a relay at its old host ends."""
        with suppress(GodwitError, TimeoutError):
            async with asyncio.timeout(TELL_S):
                await self._peers(came.source, came.source_peer_address).vm_is_off(came.order())

    async def look(self, order: Order) -> Relayed:
        """What the relay of that migration did so far."""
        relay = self._of(order)
        return await relay.look() if relay else Relayed(removed_at_unix_ms=0.0, ended=RelayEnd.moved_on)

    def interfaces(self, here: list[LocalVm]) -> set[str]:
        """What the frames of VMs go through that went, go, came or come."""
        kept = {tunnel.inbound_name(plug.tap) for vm in here if _comes(vm) for plug in vm.passport.plugs}
        return kept.union(*(relay.interfaces for relay in self._all.values()))

    async def leave(self) -> None:
        """The agent ends; what the frames of VMs go through stands on."""
        for relay in self._all.values():
            await relay.leave()

    def _of(self, order: Order) -> Relay | None:
        relay = self._all.get(order.vm)
        return relay if relay and relay.order == order.order() else None

    def _peer_of(self, request: PrepareOutgoing) -> Peer:
        return self._peers(request.destination, request.peer_address)

    def _home(self, file: Path) -> Home:
        return Home(self._config.host, self._config.migration_address, file)


def _comes(vm: LocalVm) -> bool:
    return bool(vm.passport.incoming or vm.passport.relayed)

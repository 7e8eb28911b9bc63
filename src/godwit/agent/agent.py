"""The agent: every verb that a manager or another agent may ask of this host, each a line to whoever does it."""

from __future__ import annotations

import asyncio
import logging
import os
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from importlib.metadata import version

from godwit.agent import leftovers
from godwit.agent.announcing import tell_place
from godwit.agent.arriving import arrive
from godwit.agent.console import console
from godwit.agent.disk_verbs import DiskVerbs
from godwit.agent.guest import GuestVerbs
from godwit.agent.incoming import Incoming
from godwit.agent.local import AT_HOME
from godwit.agent.looking import Looking
from godwit.agent.measuring import Gauges, Links
from godwit.agent.observing import Observers
from godwit.agent.outgoing import Outgoing
from godwit.agent.peer_verbs import PeerVerbs
from godwit.agent.relays import Relays
from godwit.agent.room import Room
from godwit.agent.testifying import resolve, testify
from godwit.agent.usage import Usage
from godwit.agent.vms import Vms
from godwit.contract.host import (
    ConsoleData,
    Examine,
    HandedOver,
    IncomingReady,
    Nothing,
    Order,
    OutgoingReady,
    Peer,
    PrepareIncoming,
    PrepareOutgoing,
    Relayed,
    Reserve,
    Resolve,
    Settled,
    StartVm,
    StopVm,
    VmRef,
)
from godwit.contract.observed import Observe, Observed
from godwit.core.config import AgentConfig
from godwit.core.errors import Refused, Unresolved
from godwit.core.leftover import Leftovers
from godwit.core.migration import Event
from godwit.core.model import HostFacts, QemuFacts, VmStatus
from godwit.core.ownership import Ownership
from godwit.core.verdict import Statement
from godwit.host import facts as host_facts
from godwit.qemu import secrecy
from godwit.storage import uefi

log = logging.getLogger("godwit.agent")

PeerFactory = Callable[[str, str], Peer]
"""(host, address) -> that host's agent."""


class Agent(DiskVerbs, GuestVerbs, PeerVerbs, Looking):
    """Implements contract.host.Host and contract.host.Peer for this host."""

    def __init__(self, config: AgentConfig, *, qemu: Callable[[], Awaitable[QemuFacts]], peers: PeerFactory) -> None:
        memory_mib = config.memory_mib or host_facts.memory_mib() * 9 // 10
        self._config = config
        self._room = Room(config.host, memory_mib)
        self._vms = Vms(config, self._room)
        super().__init__(self._vms)
        self._qemu = qemu
        self._peers = peers
        self._outgoing: dict[str, Outgoing] = {}
        self._incoming: dict[str, Incoming] = {}
        self._moving: dict[str, Order] = {}
        self._relays = Relays(config, peers)
        self._observers = Observers(is_on=config.observe)
        self._gauges = Gauges(Links(), Usage(self._vms))

    @property
    def memory_mib(self) -> int:
        """Memory for guests in all."""
        return self._room.capacity_mib

    def statuses(self) -> list[VmStatus]:
        """Of every VM that is here."""
        return self._vms.statuses()

    async def adopt(self) -> None:
        """VMs that outlived an earlier agent are ours again, and what was begun with them goes on."""
        await self._vms.adopt_all()
        self._gauges.usage.start()
        await leftovers.sweep(self._vms)
        await self._relays.find_again(self._vms.all())
        for vm in self._vms.all():
            if came := vm.passport.relayed:
                incoming = self._incoming[vm.name] = Incoming(self._vms, vm, came)
                await incoming.go_on()
            if request := vm.passport.incoming:
                self._moving[vm.name] = request.order()
                incoming = self._incoming[vm.name] = Incoming(self._vms, vm, request)
                await incoming.listen()
            if away := vm.passport.outgoing:
                self._moving[vm.name] = away.order()
                await self._relays.prepare_again(vm, away)
                outgoing = self._outgoing[vm.name] = self._outgoing_for(away)
                await outgoing.resume()

    def _outgoing_for(self, request: PrepareOutgoing) -> Outgoing:
        peer = self._peers(request.destination, request.peer_address)
        return Outgoing(self._vms.get(request.vm), request, peer)

    async def close(self) -> None:
        """The agent lets go of its VMs, which run on."""
        await self._gauges.usage.close()
        for outgoing in self._outgoing.values():
            await outgoing.close()
        for incoming in self._incoming.values():
            await incoming.leave()
        await self._relays.leave()
        self._observers.close()
        await self._vms.close()
        await self._daemons.close()

    async def facts(self, request: Nothing, /) -> HostFacts:
        """What the host is and what runs on it."""
        return HostFacts(
            host=self._config.host,
            agent_version=version("godwit"),
            agent_pid=os.getpid(),
            boot_id=host_facts.boot_id(),
            memory_mib=self._room.capacity_mib,
            memory_free_mib=self._room.free_mib(self._vms.memory_in_use()),
            cpus=host_facts.cpus(),
            load=host_facts.load(),
            unix_ms=time.time() * 1000,
            networks=tuple(sorted(self._config.networks)),
            datastores=await self._datastores.facts(),
            uefi=uefi.find(),
            vms=tuple(self._vms.statuses()),
            migration_address=self._config.migration_address,
            peer_address=self._config.listen[0],
            qemu=await self._qemu(),
        )

    def watch(self, request: Nothing, /) -> AsyncIterator[VmStatus]:
        """First the status of each VM, then each change."""
        return self._vms.watch()

    async def start_vm(self, request: StartVm, /) -> VmStatus:
        """The VM runs here."""
        self._resting.refuse_given(request)
        self._mirroring.refuse_moved(request.spec)
        if not self._vms.has(request.spec.name):
            await self._relays.end_here(request.spec.name)
        status = await self._vms.start(request)
        if request.announce:
            await tell_place(self._vms.get(request.spec.name))
        return status

    async def stop_vm(self, request: StopVm, /) -> VmStatus:
        """The VM's QEMU is gone."""
        self._refuse_if_moving(request.name, but_by=request.migration)
        status = await self._vms.stop(request)
        await self._end_relays_to(request.name)
        return status

    async def vm_status(self, request: VmRef, /) -> VmStatus:
        """The VM as it is now."""
        return self._vms.get(request.name).status()

    def console(self, request: AsyncIterator[ConsoleData], /) -> AsyncIterator[ConsoleData]:
        """The serial console, both ways."""
        return console(self._vms, request)

    async def reserve(self, request: Reserve, /) -> Nothing:
        """Room is kept, or the VM is marked as moving."""
        order = request.order()
        if self._moving.get(request.vm, order) != order:
            other = self._moving[request.vm].migration
            raise Refused(f"{request.vm} is being moved by migration {other}: wait for it, or cancel it", "moving")
        if request.role == "destination":
            self._room.promise(request.vm, request.memory_mib, self._vms.memory_in_use())
        elif request.role == "source":
            self._vms.get(request.vm)
        else:
            self._resting.refuse_unless_off(request.vm)
        self._moving[request.vm] = order
        return Nothing()

    async def release(self, request: Order, /) -> Nothing:
        """What `reserve` kept is free again, and a relay of a VM that stayed is gone."""
        async with self._vms.making(request.vm):
            if self._forget(request):
                await self._relays.end(request, anyway=True)
            if self._vms.owner(request.vm).state in AT_HOME:  # it may have been prepared to go, and nothing more
                await self._abort_outgoing(request)
            await self._bury(request)
        return Nothing()

    async def prepare_incoming(self, request: PrepareIncoming, /) -> IncomingReady:
        """An empty QEMU listens, its taps muted."""
        async with self._vms.making(request.vm):
            incoming = self._incoming.get(request.vm)
            if incoming is None or incoming.order != request.order():
                incoming = self._incoming[request.vm] = await arrive(self._vms, request)
                self._observers.watch(request, [plug.tap for plug in incoming.vm.passport.plugs], incoming.window)
        return IncomingReady(uri=incoming.vm.passport.uri, boot_id=host_facts.boot_id())

    async def abort_incoming(self, request: Order, /) -> Nothing:
        """The waiting QEMU is gone."""
        async with self._vms.making(request.vm):
            if incoming := self._incoming_of(request):
                await incoming.abort()
                self._incoming.pop(request.vm, None)
                self._observers.drop(request.migration)
        return Nothing()

    async def lay_relay(self, request: PrepareOutgoing, /) -> Nothing:
        """The source's end of the relay is there."""
        async with self._vms.making(request.vm):
            vm = self._vms.get(request.vm)
            if not self._relays.has(request):
                await self._end_old_relay(request.vm)
            await self._relays.lay(vm, request)
        return Nothing()

    async def prepare_outgoing(self, request: PrepareOutgoing, /) -> OutgoingReady:
        """The peer is met, the relay is ready and QEMU is set."""
        async with self._vms.making(request.vm):
            return await self._prepare_outgoing(request)

    async def _prepare_outgoing(self, request: PrepareOutgoing) -> OutgoingReady:
        outgoing = self._outgoing.get(request.vm)
        if outgoing is None or outgoing.order != request.order():
            if not self._relays.has(request):
                await self._end_old_relay(request.vm)
            outgoing = self._outgoing[request.vm] = self._outgoing_for(request)
            self._vms.note(request.vm, outgoing=request)
            self._observers.watch(request, [p.tap for p in self._vms.get(request.vm).passport.plugs], outgoing.window)
            notes = await self._relays.prepare(self._vms.get(request.vm), request)
            return (await outgoing.prepare()).model_copy(update={"notes": notes})
        return await outgoing.prepare()

    def copy(self, request: Order, /) -> AsyncIterator[Event]:
        """Copies memory until the rest fits."""
        return self._outgoing_of(request).copy()

    async def hand_over(self, request: Order, /) -> HandedOver:
        """The VM runs at the destination."""
        outgoing = self._outgoing_of(request)
        handed = await outgoing.hand_over()
        await self._relays.settle(request.vm)
        return handed

    async def abort_outgoing(self, request: Order, /) -> Nothing:
        """The VM runs here as before."""
        async with self._vms.making(request.vm):
            pass  # what was being prepared is, or is not; a VM that may be elsewhere is waited for without holding on
        await self._abort_outgoing(request)
        return Nothing()

    async def _abort_outgoing(self, request: Order) -> None:
        outgoing = self._outgoing.get(request.vm)
        if outgoing and outgoing.order == request.order():
            await outgoing.abort()
            if self._vms.has(request.vm):  # its QEMU may have died meanwhile
                self._vms.note(request.vm, outgoing=None)
            self._outgoing.pop(request.vm, None)
            self._observers.drop(request.migration)

    async def retire(self, request: Order, /) -> Nothing:
        """The source's QEMU is gone."""
        owner = self._vms.owner(request.vm)
        if not owner.is_about(request) or not owner.is_given_away:
            raise Unresolved(f"{self._config.host} has not given {request.vm} away ({owner.state}): nothing was ended")
        if outgoing := self._outgoing.get(request.vm):
            await outgoing.close()
            await self._relays.settle(request.vm)
            await self._mirroring.let_go(request.vm)
            await asyncio.gather(self._ended(request.vm), outgoing.belongings.sent())
            await self._relays.part(request.vm)
            self._outgoing.pop(request.vm, None)  # last: whoever asks again after an error shall find it
        self._forget(request)
        return Nothing()

    async def settle(self, request: Order, /) -> Settled:
        """The first announcements are out."""
        self._forget(request)
        if incoming := self._incoming_of(request):
            settled = await incoming.settle()
            secrecy.forget_key(incoming.key_place)
            if self._vms.has(request.vm) and self._vms.get(request.vm).passport.incoming:
                self._vms.note(request.vm, incoming=None, relayed=incoming.request)
            return settled
        if self._vms.owner(request.vm).state_for(request) in {Ownership.running, Ownership.died}:
            return Settled(settled=True)
        raise Refused(f"{self._config.host} did not receive {request.vm} by migration {request.migration}")

    async def relayed(self, request: Order, /) -> Relayed:
        """What the relay did so far."""
        return await self._relays.look(request)

    async def observe(self, request: Observe, /) -> Observed:
        """What went through the VM's taps."""
        return await self._observers.tell(request)

    async def examine(self, request: Examine, /) -> Leftovers:
        """What lies here that nobody needs, and that it is gone where it can be."""
        found = await leftovers.find(self._vms, tunnels=self._relays.interfaces(self._vms.all()))
        found += leftovers.promises(self._moving, request.migrations, forget=self._forget)
        moved = [each.order for each in self._outgoing.values() if self._vms.owner(each.order.vm).is_given_away]
        found += leftovers.given_away(moved, request.migrations, retire=self.retire)
        return Leftovers(found=await leftovers.removed(found) if request.repair else tuple(each.told for each in found))

    async def testify(self, request: Order, /) -> Statement:
        """What this host knows of that move."""
        vm = self._vms.get(request.vm) if self._vms.has(request.vm) else None
        return await testify(self._config.host, request, owner=self._vms.owner(request.vm), vm=vm)

    async def resolve(self, request: Resolve, /) -> Statement:
        """The journal says what a person has settled."""
        course = (self._incoming_of(request) or self._outgoing_of(request)).course
        await resolve(course, request)
        return await self.testify(request)

    async def abort(self, request: Order, /) -> Nothing:
        """What waits here is ended."""
        return await self.abort_incoming(request)

    async def _ended(self, vm: str) -> None:
        """Its QEMU is gone, if it was not already."""
        if self._vms.has(vm):
            await self._vms.stop(StopVm(name=vm, grace_s=0))

    async def _end_relays_to(self, vm: str) -> None:
        """A VM that is off needs none: whoever relays to us is told, and our end is gone."""
        if incoming := self._incoming.get(vm):
            await self._relays.end_of(incoming.request)
            await incoming.relay_ended()

    async def _end_old_relay(self, vm: str) -> None:
        """Whoever relays to us is told that the VM goes on; what was learned needs no relay any more."""
        if incoming := self._incoming.get(vm):
            await self._relays.end_before(incoming.request)
            await incoming.stop_announcing()

    async def _bury(self, order: Order) -> None:
        """A VM that was lost on its way leaves nothing here."""
        owner = self._vms.owner(order.vm)
        if not (owner.is_about(order) and owner.state == Ownership.lost and self._vms.has(order.vm)):
            return
        if self._vms.get(order.vm).machine.gone.is_set():
            if outgoing := self._outgoing.pop(order.vm, None):
                await outgoing.close()
            await self._vms.stop(StopVm(name=order.vm, grace_s=0))

    def _outgoing_of(self, order: Order) -> Outgoing:
        outgoing = self._outgoing.get(order.vm)
        if not outgoing or outgoing.order != order.order():
            raise Refused(
                f"{self._config.host} has not prepared migration {order.migration} of {order.vm}", "unprepared"
            )
        return outgoing

    def _refuse_if_moving(self, vm: str, *, but_by: str) -> None:
        order = self._moving.get(vm)
        if order and order.migration != but_by:
            raise Refused(f"{vm} is being moved by migration {order.migration}: wait for it, or cancel it", "moving")

    def _forget(self, order: Order) -> bool:
        """Nothing is kept for that move any more; one that came after it is left alone. Whether anything was kept."""
        if self._moving.get(order.vm) != order.order():
            return False
        del self._moving[order.vm]
        self._room.forget(order.vm)
        return True

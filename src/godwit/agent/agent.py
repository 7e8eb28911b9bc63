"""The agent: every verb that a manager or another agent may ask of this host, each a line to whoever does it."""

from __future__ import annotations

import os
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from importlib.metadata import version

from godwit.agent.arriving import arrive
from godwit.agent.console import console
from godwit.agent.incoming import Incoming
from godwit.agent.outgoing import Outgoing
from godwit.agent.room import Room
from godwit.agent.vms import Vms
from godwit.contract.host import (
    ConsoleData,
    Go,
    GoAnswer,
    HandedOver,
    IncomingReady,
    Meet,
    Met,
    Nothing,
    Order,
    OutgoingReady,
    Peer,
    PrepareIncoming,
    PrepareOutgoing,
    Reserve,
    Settled,
    StartVm,
    StopVm,
    VmRef,
)
from godwit.core.config import AgentConfig
from godwit.core.errors import Refused, Unresolved
from godwit.core.migration import Event
from godwit.core.model import HostFacts, QemuFacts, VmStatus
from godwit.core.ownership import Ownership
from godwit.host import facts as host_facts

PeerFactory = Callable[[str, str], Peer]
"""(host, address) -> that host's agent."""


class Agent:
    """Implements contract.host.Host and contract.host.Peer for this host."""

    def __init__(self, config: AgentConfig, *, qemu: Callable[[], Awaitable[QemuFacts]], peers: PeerFactory) -> None:
        memory_mib = config.memory_mib or host_facts.memory_mib() * 9 // 10
        self._config = config
        self._room = Room(config.host, memory_mib)
        self._vms = Vms(config, self._room)
        self._qemu = qemu
        self._peers = peers
        self._outgoing: dict[str, Outgoing] = {}
        self._incoming: dict[str, Incoming] = {}
        self._moving: dict[str, Order] = {}

    async def adopt(self) -> None:
        """VMs that outlived an earlier agent are ours again, and what was begun with them goes on."""
        await self._vms.adopt_all()
        for vm in self._vms.all():
            if request := vm.passport.incoming:
                incoming = self._incoming[vm.name] = Incoming(self._vms, vm, request)
                await incoming.listen()
            if away := vm.passport.outgoing:
                self._moving[vm.name] = away.order()
                outgoing = self._outgoing[vm.name] = self._outgoing_for(away)
                await outgoing.resume()

    def _outgoing_for(self, request: PrepareOutgoing) -> Outgoing:
        peer = self._peers(request.destination, request.peer_address)
        return Outgoing(self._vms.get(request.vm), request, peer)

    async def close(self) -> None:
        """The agent lets go of its VMs, which run on."""
        for outgoing in self._outgoing.values():
            await outgoing.close()
        for incoming in self._incoming.values():
            await incoming.close()
        await self._vms.close()

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
            networks=tuple(sorted(self._config.networks)),
            datastores=tuple(sorted(name for name, each in self._config.datastores.items() if each.path.is_dir())),
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
        return await self._vms.start(request)

    async def stop_vm(self, request: StopVm, /) -> VmStatus:
        """The VM's QEMU is gone."""
        self._refuse_if_moving(request.name)
        return await self._vms.stop(request)

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
        else:
            self._vms.get(request.vm)
        self._moving[request.vm] = order
        return Nothing()

    async def release(self, request: Order, /) -> Nothing:
        """What `reserve` kept is free again."""
        if self._moving.get(request.vm) == request.order():
            self._forget(request.vm)
        return Nothing()

    async def prepare_incoming(self, request: PrepareIncoming, /) -> IncomingReady:
        """An empty QEMU listens, its taps muted."""
        incoming = self._incoming.get(request.vm)
        if incoming is None or incoming.order != request.order():
            incoming = self._incoming[request.vm] = await arrive(self._vms, request)
        return IncomingReady(uri=incoming.vm.passport.uri, boot_id=host_facts.boot_id())

    async def abort_incoming(self, request: Order, /) -> Nothing:
        """The waiting QEMU is gone."""
        if incoming := self._incoming_of(request):
            await incoming.abort()
            self._incoming.pop(request.vm, None)
        return Nothing()

    async def prepare_outgoing(self, request: PrepareOutgoing, /) -> OutgoingReady:
        """The peer is met and QEMU is set."""
        outgoing = self._outgoing.get(request.vm)
        if outgoing is None or outgoing.order != request.order():
            outgoing = self._outgoing[request.vm] = self._outgoing_for(request)
            self._vms.note(request.vm, outgoing=request)
        return await outgoing.prepare()

    def copy(self, request: Order, /) -> AsyncIterator[Event]:
        """Copies memory until the rest fits."""
        return self._outgoing_of(request).copy()

    async def hand_over(self, request: Order, /) -> HandedOver:
        """The VM runs at the destination."""
        return await self._outgoing_of(request).hand_over()

    async def abort_outgoing(self, request: Order, /) -> Nothing:
        """The VM runs here as before."""
        outgoing = self._outgoing.get(request.vm)
        if outgoing and outgoing.order == request.order():
            await outgoing.abort()
            self._vms.note(request.vm, outgoing=None)
            self._outgoing.pop(request.vm, None)
        return Nothing()

    async def retire(self, request: Order, /) -> Nothing:
        """The source's QEMU is gone."""
        owner = self._vms.owner(request.vm)
        if not owner.is_about(request) or owner.state != Ownership.done:
            raise Unresolved(f"{self._config.host} has not given {request.vm} away ({owner.state}): nothing was ended")
        if outgoing := self._outgoing.pop(request.vm, None):
            await outgoing.close()
            await self._vms.stop(StopVm(name=request.vm, grace_s=0))
        self._forget(request.vm)
        return Nothing()

    async def settle(self, request: Order, /) -> Settled:
        """The first announcements are out."""
        self._forget(request.vm)
        if incoming := self._incoming_of(request):
            settled = await incoming.settle()
            self._vms.note(request.vm, incoming=None)
            return settled
        owner = self._vms.owner(request.vm)
        if owner.is_about(request) and owner.is_owner:
            return Settled(settled=True)
        raise Refused(f"{self._config.host} did not receive {request.vm} by migration {request.migration}")

    async def meet(self, request: Meet, /) -> Met:
        """This host's clock, and whether it waits for that move."""
        return Met(unix_ms=time.time() * 1000, ready=self._incoming_of(request.order) is not None)

    async def go(self, request: Go, /) -> GoAnswer:
        """The VM runs here, or never will."""
        if incoming := self._incoming_of(request.order()):
            return await incoming.go(request)
        owner = self._vms.owner(request.vm)
        if owner.is_about(request) and owner.state == Ownership.closed:
            return GoAnswer(verdict="returned-dead", reason="its QEMU at the destination ended")
        raise Unresolved(f"{self._config.host} knows of no migration {request.migration} of {request.vm}")

    async def abort(self, request: Order, /) -> Nothing:
        """What waits here is ended."""
        return await self.abort_incoming(request)

    def _incoming_of(self, order: Order) -> Incoming | None:
        incoming = self._incoming.get(order.vm)
        return incoming if incoming and incoming.order == order.order() else None

    def _outgoing_of(self, order: Order) -> Outgoing:
        outgoing = self._outgoing.get(order.vm)
        if not outgoing or outgoing.order != order.order():
            raise Refused(
                f"{self._config.host} has not prepared migration {order.migration} of {order.vm}", "unprepared"
            )
        return outgoing

    def _refuse_if_moving(self, vm: str) -> None:
        if order := self._moving.get(vm):
            raise Refused(f"{vm} is being moved by migration {order.migration}: wait for it, or cancel it", "moving")

    def _forget(self, vm: str) -> None:
        self._moving.pop(vm, None)
        self._room.forget(vm)

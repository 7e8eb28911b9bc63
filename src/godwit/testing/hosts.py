"""A host in memory: the verbs of contract.host with QEMU, kernel and journal left out, the rules kept."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from datetime import UTC, datetime

from godwit.contract.host import (
    ConsoleData,
    Examine,
    HandedOver,
    IncomingReady,
    Nothing,
    Order,
    OutgoingReady,
    PrepareIncoming,
    PrepareOutgoing,
    Relayed,
    Reserve,
    Resolve,
    Settled,
    Sighted,
    StartVm,
    StopVm,
    VmRef,
)
from godwit.contract.looks import ExchangeFrames, FilesLook, LookAtFiles, SegmentsLook
from godwit.contract.measures import Measure, Measurement
from godwit.contract.observed import Observe, Observed
from godwit.core.errors import NotFound, Refused, Unresolved
from godwit.core.leftover import Leftover, Leftovers
from godwit.core.looked import FileLook, Heard, Pulse, SegmentLook, VmLook
from godwit.core.migration import Event, EventKind
from godwit.core.model import HostFacts, VmSpec, VmState, VmStatus
from godwit.core.ownership import OWNERS, Cue, Ownership, step
from godwit.core.report import Announcement, RelayEnd
from godwit.core.verdict import QemuSeen, Statement
from godwit.testing.fake_disks import FakeDisks
from godwit.testing.fake_guests import FakeGuests


@dataclass
class FakeVm:
    """A VM's copy on one host."""

    request: StartVm
    state: Ownership
    running: bool
    order: Order | None = None
    listeners: int = 0
    outgoing: PrepareOutgoing | None = None
    handed: HandedOver | None = None

    def take(self, cue: Cue) -> None:
        """By the same table as the real agent."""
        self.state = step(self.state, cue).state


@dataclass
class FakeHost(FakeGuests, FakeDisks):
    """Implements contract.host.Host."""

    peers: dict[str, FakeHost] = field(default_factory=dict)
    vms: dict[str, FakeVm] = field(default_factory=dict)
    moving: dict[str, Order] = field(default_factory=dict)
    promised_mib: dict[str, int] = field(default_factory=dict)
    passes: int = 3
    laid: dict[str, Order] = field(default_factory=dict)
    """The relays of VMs that are about to go."""
    measured: Measurement = field(default_factory=lambda: Measurement(link_bytes_per_s=10**8, resident_bytes=10**8))
    listeners: set[asyncio.Queue[VmStatus]] = field(default_factory=set)
    parted: dict[str, Ownership] = field(default_factory=dict)
    """What the journals of VMs say that are not here any more."""
    witnesses: bool = True
    """Announcements of what has moved away come in by its uplinks."""

    def is_running(self, vm: str) -> bool:
        """Its vCPUs run here."""
        return vm in self.vms and self.vms[vm].running

    def owns(self, vm: str) -> bool:
        """Its journal here gives the right to run it."""
        return vm in self.vms and self.vms[vm].state in OWNERS

    def leftovers(self) -> list[str]:
        """What only a migration that goes on may hold."""
        waiting = [f"{self.name}: {vm} waits" for vm, each in self.vms.items() if each.state not in OWNERS]
        waiting += [f"{self.name}: disks of {vm} are nobody's" for vm in self.placed]
        waiting += [f"{self.name}: disks of {vm} are mirrored" for vm in self.mirrored]
        waiting += [f"{self.name}: a relay of {vm} is laid" for vm in self.laid]
        return waiting + [f"{self.name}: {vm} is moving" for vm in {*self.moving, *self.promised_mib}]

    def spec_here(self, vm: str) -> VmSpec | None:
        """Of a VM that has a copy here."""
        return self.vms[vm].request.spec if vm in self.vms else None

    def use_spec(self, vm: str, spec: VmSpec) -> None:
        """Its copy here is that from now on."""
        here = self.vms[vm]
        here.request = here.request.model_copy(update={"spec": spec})

    async def facts(self, request: Nothing, /) -> HostFacts:
        """As told, with what is here."""
        used = sum(each.request.spec.memory_mib for each in self.vms.values())
        promised = sum(mib for vm, mib in self.promised_mib.items() if vm not in self.vms)
        free = self.told.memory_mib - used - promised
        statuses = tuple(self._status(name) for name in self.vms)
        seen = (*self.told.datastores, *self.added)
        return self.told.model_copy(update={"memory_free_mib": free, "vms": statuses, "datastores": seen})

    async def watch(self, request: Nothing, /) -> AsyncIterator[VmStatus]:
        """First the status of each VM, then each change."""
        queue: asyncio.Queue[VmStatus] = asyncio.Queue()
        for name in self.vms:
            queue.put_nowait(self._status(name))
        self.listeners.add(queue)
        try:
            while True:
                yield await queue.get()
        finally:
            self.listeners.discard(queue)

    async def start_vm(self, request: StartVm, /) -> VmStatus:
        """Runs at once."""
        name = request.spec.name
        if name in self.vms:
            raise Refused(f"a QEMU of {name} is on {self.name} already")
        self.refuse_given(request)
        await self._has_room(name, request.spec.memory_mib)
        self.vms[name] = FakeVm(request, Ownership.own, running=True)
        return self._tell(name)

    async def stop_vm(self, request: StopVm, /) -> VmStatus:
        """Gone at once."""
        status = self._status(request.name)
        if request.name in self.moving and self.moving[request.name].migration != request.migration:
            raise Refused(f"{request.name} is being moved")
        return self._end(status)

    async def vm_status(self, request: VmRef, /) -> VmStatus:
        """As it is."""
        return self._status(request.name)

    async def console(self, request: AsyncIterator[ConsoleData], /) -> AsyncIterator[ConsoleData]:
        """Echoes."""
        async for message in request:
            yield ConsoleData(data=message.data)

    async def look_at_vm(self, request: VmRef, /) -> VmLook:
        """Nothing is odd about it."""
        self._here(request.name)
        return VmLook()

    async def feel_pulse(self, request: VmRef, /) -> Pulse:
        """It beats where it runs."""
        return Pulse(is_running=self._here(request.name).running)

    async def look_at_files(self, request: LookAtFiles, /) -> FilesLook:
        """All are there, and the same everywhere."""
        return FilesLook(files=tuple(FileLook(path=each, size_bytes=1, inode=1) for each in request.paths))

    async def exchange_frames(self, request: ExchangeFrames, /) -> SegmentsLook:
        """Its networks are one segment with the other host's."""
        return SegmentsLook(
            segments=tuple(
                SegmentLook(
                    network=each.network,
                    bridge=each.network,
                    mtu=1500,
                    uplinks=("uplink",),
                    heard=(Heard(host=request.other, bytes=1514),),
                )
                for each in request.segments
                if each.network in self.told.networks
            )
        )

    async def reserve(self, request: Reserve, /) -> Nothing:
        """Kept once."""
        order = request.order()
        if self.moving.get(request.vm, order) != order:
            raise Refused(f"{request.vm} is being moved")
        if request.role == "destination":
            await self._has_room(request.vm, request.memory_mib)
            self.promised_mib[request.vm] = request.memory_mib
        elif request.role == "source":
            self._status(request.vm)
        elif request.vm in self.vms:
            raise Refused(f"{request.vm} is not off on {self.name}")
        self.moving[request.vm] = order
        return Nothing()

    async def release(self, request: Order, /) -> Nothing:
        """Free again."""
        if self.moving.get(request.vm) == request.order():
            self._forget(request.vm)
        return Nothing()

    async def measure(self, request: Measure, /) -> Measurement:
        """As told."""
        if request.memory_bytes:
            self._here(request.vm)
        return self.measured

    async def prepare_incoming(self, request: PrepareIncoming, /) -> IncomingReady:
        """A copy that waits."""
        here = self.vms.get(request.vm)
        if here and here.order != request.order():
            raise Refused(f"a QEMU of {request.vm} is on {self.name} already")
        start = StartVm(spec=request.spec, pinned=request.pinned)
        self.vms[request.vm] = here or FakeVm(start, Ownership.armed, running=False, order=request.order())
        return IncomingReady(uri="tcp:192.0.2.2:4444", boot_id=self.told.boot_id)

    async def abort_incoming(self, request: Order, /) -> Nothing:
        """The waiting copy is gone."""
        here = self.vms.get(request.vm)
        if here and here.order == request.order():
            if here.state != Ownership.armed:
                raise Unresolved(f"{request.vm} was handed to {self.name}")
            del self.vms[request.vm]
            self.parted[request.vm] = Ownership.closed
        return Nothing()

    async def lay_relay(self, request: PrepareOutgoing, /) -> Nothing:
        """Nothing goes by it."""
        self._here(request.vm)
        self.laid[request.vm] = request.order()
        return Nothing()

    async def prepare_outgoing(self, request: PrepareOutgoing, /) -> OutgoingReady:
        """The peer is there."""
        self._here(request.vm).outgoing = request
        return OutgoingReady(clock_offset_ms=0.0, clock_error_ms=0.1)

    async def copy(self, request: Order, /) -> AsyncIterator[Event]:
        """A few passes; asked again, the same ones."""
        vm = self._outgoing(request)
        if vm.state in {Ownership.own, Ownership.running}:
            vm.take(Cue.offered)
        for number in range(1, self.passes + 1):
            await asyncio.sleep(0.1)
            at = datetime.fromtimestamp(number, UTC)
            yield Event(at=at, kind=EventKind.pass_completed, text=f"pass {number} ended")

    async def hand_over(self, request: Order, /) -> HandedOver:
        """The peer runs it, and this host never will again; repeated, it gets the same answer."""
        vm = self._outgoing(request)
        if vm.handed is None:
            assert vm.outgoing is not None
            vm.running = False
            vm.take(Cue.completed)
            self.peers[vm.outgoing.destination].receive(request)
            vm.take(Cue.answered_running)
            vm.handed = HandedOver(
                stopped_at_ms=0.0, resumed_at_ms=10.0, blackout_ms=10.0, clock_error_ms=0.1, transferred_bytes=1000
            )
        return vm.handed

    def receive(self, order: Order) -> None:
        """GO came, and the copy was loaded."""
        vm = self.vms[order.vm]
        for cue in (Cue.went, Cue.loaded, Cue.resumed):
            vm.take(cue)
        vm.running = True
        self._tell(order.vm)

    async def abort_outgoing(self, request: Order, /) -> Nothing:
        """It runs here as before."""
        vm = self.vms.get(request.vm)
        if vm and vm.state == Ownership.offer:
            vm.take(Cue.failed_running)
        if not vm or vm.state not in {Ownership.own, Ownership.running}:
            raise Unresolved(f"{request.vm} was given away by {self.name}")
        vm.outgoing = None
        return Nothing()

    async def retire(self, request: Order, /) -> Nothing:
        """The source's copy is gone."""
        vm = self.vms.get(request.vm)
        if vm and vm.state != Ownership.done:
            raise Unresolved(f"{self.name} has not given {request.vm} away")
        if self.vms.pop(request.vm, None):
            self.parted[request.vm] = Ownership.done
        self._forget(request.vm)
        return Nothing()

    async def settle(self, request: Order, /) -> Settled:
        """Announced once."""
        self._forget(request.vm)
        return Settled(announcements=(Announcement(kind="announce-self", at_ms=0.0),), settled=True)

    async def relayed(self, request: Order, /) -> Relayed:
        """Nothing needed relaying, and the new place was learned at once."""
        seen = (Sighted(kind="arp", by=self.name, at_unix_ms=10.0),) if self.witnesses else ()
        learned = {"learned_at_unix_ms": 10.0, "ended": RelayEnd.learned} if self.witnesses else {}
        return Relayed(removed_at_unix_ms=0.0, sighted=seen, **learned)

    async def examine(self, request: Examine, /) -> Leftovers:
        """Memory that is kept for migrations that are over."""
        over = [name for name, order in self.moving.items() if order.migration not in request.migrations]
        found = [Leftover(what=f"memory for {each}", where=self.name, why="its migration is over") for each in over]
        if request.repair:
            found = [each.model_copy(update={"removed": True}) for each in found]
            for each in over:
                self._forget(each)
        return Leftovers(found=tuple(found))

    async def testify(self, request: Order, /) -> Statement:
        """By what is here, and what was."""
        vm = self.vms.get(request.vm)
        now = vm.state if vm else self.parted.get(request.vm, Ownership.closed)
        about = vm is None or vm.order == request.order() or (vm.outgoing and vm.outgoing.order() == request.order())
        qemu = QemuSeen.none if vm is None else QemuSeen.running if vm.running else QemuSeen.frozen
        return Statement(
            host=self.name, state=now if about and (vm or request.vm in self.parted) else None, now=now, qemu=qemu
        )

    async def resolve(self, request: Resolve, /) -> Statement:
        """By the table."""
        vm = self._here(request.vm)
        vm.state = step(vm.state, request.cue, proof=request.proof).state
        cues = {Ownership.keep: (Cue.loaded, Cue.resumed), Ownership.reclaim: (Cue.resumed,)}
        for cue in cues.get(vm.state, ()):
            vm.take(cue)
            vm.running = True
        if vm.state == Ownership.closed:
            del self.vms[request.vm]
        return await self.testify(request)

    async def observe(self, request: Observe, /) -> Observed:
        """Nothing went through its taps; the source's word is kept."""
        return Observed(is_complete=True, connections=request.connections, datagrams=request.datagrams)

    def crash(self, vm: str) -> None:
        """Its QEMU ends by itself."""
        self._end(self._status(vm).model_copy(update={"exit_status": 139}), VmState.crashed)

    async def _has_room(self, vm: str, memory_mib: int) -> None:
        free = (await self.facts(Nothing())).memory_free_mib + self.promised_mib.get(vm, 0)
        if memory_mib > free:
            raise Refused(f"{self.name} has {free} MiB free, {vm} needs {memory_mib} MiB")

    def _here(self, vm: str) -> FakeVm:
        if vm not in self.vms:
            raise NotFound(f"no QEMU of {vm} is on {self.name}")
        return self.vms[vm]

    def _outgoing(self, order: Order) -> FakeVm:
        vm = self._here(order.vm)
        if vm.outgoing is None or vm.outgoing.order() != order.order():
            raise Refused(f"{self.name} has not prepared migration {order.migration} of {order.vm}")
        return vm

    def _status(self, name: str) -> VmStatus:
        vm = self._here(name)
        state = VmState.running if vm.running else VmState.migrating
        memory_mib = vm.request.spec.memory_mib
        return VmStatus(name=name, state=state, owned=vm.state in OWNERS, qemu_pid=1, memory_mib=memory_mib)

    def _end(self, status: VmStatus, state: VmState = VmState.stopped) -> VmStatus:
        del self.vms[status.name]
        self.parted[status.name] = Ownership.died
        last = status.model_copy(update={"state": state, "owned": False, "qemu_pid": None, "memory_mib": 0})
        for queue in self.listeners:
            queue.put_nowait(last)
        return last

    def _tell(self, name: str) -> VmStatus:
        status = self._status(name)
        for queue in self.listeners:
            queue.put_nowait(status)
        return status

    def _forget(self, vm: str) -> None:
        self.moving.pop(vm, None)
        self.promised_mib.pop(vm, None)
        self.laid.pop(vm, None)

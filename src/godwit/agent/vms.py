"""The VMs of this host: started, found again, watched, ended."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import suppress

from godwit.agent.launching import end, launch, unplug
from godwit.agent.local import AT_HOME, LocalVm, Passport, Place
from godwit.agent.owner import Owner
from godwit.agent.room import Room
from godwit.contract.host import PrepareIncoming, PrepareOutgoing, StartVm, StopVm
from godwit.core.config import AgentConfig
from godwit.core.errors import Failed, GodwitError, NotFound, Refused, Unreachable
from godwit.core.model import VmSpec, VmState, VmStatus
from godwit.core.ownership import TABLE, Cue
from godwit.host import priority, process
from godwit.host.facts import boot_id
from godwit.host.journal_file import JournalFile
from godwit.qemu import guest_agent
from godwit.qemu.keeper import EXITED
from godwit.qemu.machine import Machine
from godwit.qemu.monitor import QmpEvent

log = logging.getLogger("godwit.agent")

FIND_AGAIN_S = 1.0
ANSWER_S = 2.0
"""A guest agent that has not answered by then is none."""

PRESS_S = 5.0
"""Between two presses of a power button."""

STATE_AFTER = {"RESUME": VmState.running, "STOP": VmState.migrating}
"""QEMU's events that change what is told of an owned VM."""


class Vms:
    """All VMs that have, or just had, a QEMU here; everything told about them goes through here."""

    def __init__(self, config: AgentConfig, room: Room) -> None:
        self.config = config
        self._room = room
        self._here: dict[str, LocalVm] = {}
        self._owners: dict[str, Owner] = {}
        self._starting: set[str] = set()
        self._making: dict[str, asyncio.Lock] = {}
        self._listeners: set[asyncio.Queue[VmStatus]] = set()
        self._tasks: set[asyncio.Task[None]] = set()

    def statuses(self) -> list[VmStatus]:
        """Of every VM."""
        return [vm.status() for vm in self._here.values()]

    def memory_in_use(self) -> dict[str, int]:
        """MiB of each VM that has a QEMU."""
        return {vm.name: vm.passport.spec.memory_mib for vm in self._here.values() if vm.is_alive}

    def has(self, name: str) -> bool:
        """The VM is here."""
        return name in self._here

    def get(self, name: str) -> LocalVm:
        """The VM; `NotFound` names this host."""
        try:
            return self._here[name]
        except KeyError:
            raise NotFound(f"no QEMU of {name} is on {self.config.host}: see `godwit vm show {name}`") from None

    def all(self) -> list[LocalVm]:
        """Every VM."""
        return list(self._here.values())

    def note(self, name: str, **orders: PrepareIncoming | PrepareOutgoing | None) -> None:
        """The VM's passport says by which orders it came (`incoming`) and is to go (`outgoing`), if any."""
        vm = self.get(name)
        vm.passport = vm.passport.model_copy(update=orders)
        Place.of(self.config, name).write_passport(vm.passport)

    def use_spec(self, name: str, spec: VmSpec) -> None:
        """The VM is that from now on, after a restart of the agent too."""
        vm = self.get(name)
        vm.passport = vm.passport.model_copy(update={"spec": spec})
        Place.of(self.config, name).write_passport(vm.passport)

    def owner(self, name: str) -> Owner:
        """The one door to the journal of a VM, whether it is here or not."""
        if name not in self._owners:
            self._owners[name] = Owner(JournalFile(Place.of(self.config, name).journal), boot_id=boot_id())
        return self._owners[name]

    def making(self, name: str) -> asyncio.Lock:
        """Held while what a move needs of that VM here is made or unmade: an undo finds it whole, or not at all."""
        return self._making.setdefault(name, asyncio.Lock())

    def claim(self, name: str) -> None:
        """Nobody else starts or receives the VM; `Refused` if it is here."""
        alive = name in self._here and self._here[name].is_alive
        if alive or name in self._starting:
            raise Refused(
                f"a QEMU of {name} is on {self.config.host} already: see `godwit host show {self.config.host}`"
            )
        state = self.owner(name).state
        if (state, Cue.started) not in TABLE:
            raise Refused(
                f"the journal of {name} on {self.config.host} says {state}: whoever owns it is not settled, see "
                f"`godwit vm show {name}`",
                "unsettled",
            )
        self._starting.add(name)

    def is_starting(self, name: str = "") -> bool:
        """Somebody starts or receives that VM, or any."""
        return name in self._starting if name else bool(self._starting)

    def unclaim(self, name: str) -> None:
        """Undoes `claim`."""
        self._starting.discard(name)

    async def start(self, request: StartVm) -> VmStatus:
        """The VM runs here. On failure nothing of it is left."""
        spec, place = request.spec, Place.of(self.config, request.spec.name)
        self.claim(spec.name)
        try:
            self._room.promise(spec.name, spec.memory_mib, self.memory_in_use())
            machine, plugs = await launch(
                self.config, place, spec=spec, pinned=request.pinned, incoming=False, generation=""
            )
            passport, owner = Passport(spec=spec, pinned=request.pinned, plugs=plugs), self.owner(spec.name)
            try:
                place.write_passport(passport)
                owner.take(Cue.started, **process_of(machine))
            except BaseException:
                place.passport.unlink(missing_ok=True)
                await end(machine, plugs)
                raise
            return self.welcome(LocalVm(passport, owner, machine, VmState.running, waits=self.config.waits))
        finally:
            self._room.forget(spec.name)
            self.unclaim(spec.name)

    def welcome(self, vm: LocalVm) -> VmStatus:
        """The VM is one of ours: watched, and told to the listeners."""
        self._here[vm.name] = vm
        task = asyncio.create_task(self._watch(vm), name=f"watch {vm.name}")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return self.tell(vm)

    def tell(self, vm: LocalVm, state: VmState | None = None) -> VmStatus:
        """Every listener knows the VM's state, which is the one given, if any."""
        vm.state = state or vm.state
        status = vm.status()
        for queue in self._listeners:
            queue.put_nowait(status)
        return status

    async def watch(self) -> AsyncIterator[VmStatus]:
        """The status of each VM, then each change."""
        queue: asyncio.Queue[VmStatus] = asyncio.Queue()
        for status in self.statuses():
            queue.put_nowait(status)
        self._listeners.add(queue)
        try:
            while True:
                yield await queue.get()
        finally:
            self._listeners.discard(queue)

    async def stop(self, request: StopVm) -> VmStatus:
        """The VM's QEMU is gone: by its guest agent or ACPI within the grace, then off."""
        vm = self.get(request.name)
        vm.stopping = True
        is_off = await _power_down(vm.machine, request.grace_s) if vm.is_alive and request.grace_s else True
        if not is_off and not request.then_off:
            vm.stopping = False
            raise Failed(
                f"{vm.name} did not switch itself off within {request.grace_s:.0f} s, and runs on: look at its "
                f"console, or stop it with `godwit vm stop {vm.name}`",
                "not-off",
            )
        await self.retire(vm)
        async with vm.owner.turn:
            if vm.owner.state in AT_HOME:
                vm.owner.take(Cue.ended)
        return self.part(vm, VmState.stopped)

    async def retire(self, vm: LocalVm) -> None:
        """Its QEMU is gone, and so are its ports, but what a relay needs of them."""
        await end(vm.machine, vm.passport.plugs)

    def part(self, vm: LocalVm, state: VmState) -> VmStatus:
        """The VM is none of ours any more: its passport is gone, its last state has been told."""
        Place.of(self.config, vm.name).passport.unlink(missing_ok=True)
        status = self.tell(vm, state)
        if self._here.get(vm.name) is vm:
            del self._here[vm.name]
        return status

    async def close(self) -> None:
        """Nobody here watches the VMs any more; they run on."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for vm in self._here.values():
            await vm.machine.close()

    async def adopt_all(self) -> None:
        """Every QEMU that outlived the agent is ours again, undisturbed."""
        passports = sorted((self.config.state_dir / "vms").glob("*/vm.json"))
        for path in passports:
            try:
                await self._adopt(path.parent.name)
            except GodwitError as error:
                log.error("cannot find %s again: %s", path.parent.name, error)

    async def _adopt(self, name: str) -> None:
        place = Place.of(self.config, name)
        passport = place.read_passport()
        assert passport is not None
        owner = self.owner(name)
        machine = await self._found(place, owner)
        if machine.gone.is_set() and owner.state in AT_HOME:
            log.warning("the QEMU of %s is gone", name)
            await unplug(passport.plugs)
            place.passport.unlink()
            owner.take(Cue.qemu_died)
            return
        priority.put_back(machine.qemu_pid)  # it may have come in just before our time
        self.welcome(LocalVm(passport, owner, machine, await _state(owner, machine), waits=self.config.waits))
        log.info("found %s again: QEMU %d, journal %s", name, machine.qemu_pid, owner.state)

    async def _found(self, place: Place, owner: Owner) -> Machine:
        """Its QEMU, or what is left of it; `Failed` if it lives on and cannot be reached."""
        machine = await Machine.find(place.run_dir)
        record = owner.record
        unreached = machine.gone.is_set() and record.boot_id == boot_id()
        if unreached and process.is_alive(record.qemu_pid, record.qemu_start_ticks):
            raise Failed(f"QEMU {record.qemu_pid} runs and its directory {place.run_dir} is gone: nothing is decided")
        return machine

    async def _watch(self, vm: LocalVm) -> None:
        """Tells what QEMU says, until it is gone."""
        while True:
            try:
                with vm.machine.monitor.listening() as events:
                    await self._listen(vm, events)
                break
            except Unreachable:
                if vm.stopping or not await self._find_again(vm):
                    break
        await self._see_off(vm)

    async def _listen(self, vm: LocalVm, events: AsyncIterator[QmpEvent]) -> None:
        async for event in events:
            self._heed(vm, event)
            if event.name == EXITED:
                return

    async def _find_again(self, vm: LocalVm) -> bool:
        """Its keeper was lost; whether QEMU is alive under a new one."""
        while True:
            try:
                vm.machine = await Machine.find(vm.machine.run_dir)
                break
            except GodwitError as error:  # QEMU is alive: it shall have a keeper
                log.error("%s lost its keeper and gets no other: %s", vm.name, error)
                await asyncio.sleep(FIND_AGAIN_S)
        if vm.machine.gone.is_set():
            log.error("%s lost its keeper and its QEMU", vm.name)
            return False
        log.warning("%s lost its keeper and has another, pid %d", vm.name, vm.machine.keeper_pid)
        return True

    def _heed(self, vm: LocalVm, event: QmpEvent) -> None:
        if vm.owner.is_owner and event.name in STATE_AFTER:
            self.tell(vm, STATE_AFTER[event.name])

    async def _see_off(self, vm: LocalVm) -> None:
        """A QEMU that ended by itself: powered off by its guest, or crashed; one that moves is not our affair alone."""
        if vm.stopping or self._here.get(vm.name) is not vm:
            return
        with suppress(GodwitError):
            vm.exit_status = (await vm.machine.history()).exit_status
        log.warning("the QEMU of %s ended with status %s", vm.name, vm.exit_status)
        async with vm.owner.turn:
            is_home = vm.owner.state in AT_HOME
            if is_home:
                vm.owner.take(Cue.qemu_died)
        if not is_home:
            self.tell(vm, VmState.crashed)
            return
        await self.retire(vm)
        self.part(vm, VmState.stopped if vm.exit_status == 0 else VmState.crashed)


async def _state(owner: Owner, machine: Machine) -> VmState:
    if machine.gone.is_set() or not (await machine.history()).is_alive:
        return VmState.crashed
    running = owner.is_owner and await machine.runstate() == "running"
    return VmState.running if running else VmState.migrating


def process_of(machine: Machine) -> dict[str, int]:
    """The journal's words for a QEMU."""
    return {"qemu_pid": machine.qemu_pid, "qemu_start_ticks": machine.qemu_start_ticks}


async def _power_down(machine: Machine, grace_s: float) -> bool:
    """Whether it is off. Its guest agent is asked; then its power button is pressed again and again: a guest that still
    boots has no agent yet and does not notice the button."""
    try:
        async with asyncio.timeout(grace_s):
            if await guest_agent.shut_down(machine.agent_socket, timeout_s=ANSWER_S):
                log.info("the guest agent in %s shuts it down", machine.run_dir.name)
                with suppress(TimeoutError):
                    await asyncio.wait_for(machine.gone.wait(), PRESS_S)
            while not machine.gone.is_set():
                with suppress(Failed):  # it is just ending, and says so or nothing
                    await machine.powerdown()
                with suppress(TimeoutError):
                    await asyncio.wait_for(machine.gone.wait(), PRESS_S)
    except TimeoutError:
        log.warning("a guest did not power down within %.0f s", grace_s)
    return machine.gone.is_set()

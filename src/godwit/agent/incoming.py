"""A VM on its way in: what the manager's verbs for a destination do, and the other half of the hand-over."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from godwit.agent.launching import launch
from godwit.agent.local import LocalVm, Passport, Place
from godwit.agent.vms import Vms, process_of
from godwit.contract.host import Go, GoAnswer, IncomingReady, PrepareIncoming, Settled
from godwit.core.errors import Failed, GodwitError, Unresolved
from godwit.core.model import VmState
from godwit.core.ownership import Act, Cue, Ownership
from godwit.core.report import Announcement, TimelineEntry
from godwit.host.facts import boot_id
from godwit.network import port
from godwit.network.netlink import Prepared
from godwit.qemu import memory
from godwit.qemu.keeper import EXITED
from godwit.qemu.monitor import QmpEvent
from godwit.telemetry.log import logger

log = logger("agent")

ROUNDS = 5
"""Of QEMU's announce-self: at 0, 50, 200, 450 and 800 ms."""


class Incoming:
    """One attempt to receive one VM. `verdict` is set when it is known whether it runs here."""

    def __init__(self, vms: Vms, request: PrepareIncoming) -> None:
        self.order = request.order()
        self._vms = vms
        self._request = request
        self._vm: LocalVm | None = None
        self._ready: IncomingReady | None = None
        self._task: asyncio.Task[None] | None = None
        self._ending: asyncio.Task[None] | None = None
        self._loaded = False
        self._resumed_at_ms: float | None = None
        self._timeline: list[TimelineEntry] = []
        self._unmute: list[Prepared] = []
        self._announced: list[Announcement] = []
        self._announced_first = asyncio.Event()
        self.verdict: asyncio.Future[GoAnswer] = asyncio.get_running_loop().create_future()
        self._do: dict[Act, Callable[[], Awaitable[None]]] = {
            Act.commit_network: self._commit_network,
            Act.cont: self._cont,
            Act.quit_qemu: self._quit,
            Act.answer_running: self._answer_running,
            Act.answer_dead: self._answer_dead,
            Act.announce: self._announce,
        }

    @property
    def vm(self) -> LocalVm:
        """The VM, once prepared."""
        if self._vm is None:
            raise Failed(f"{self.order.vm} is not prepared here")
        return self._vm

    async def prepare(self) -> IncomingReady:
        """An empty QEMU listens. On failure nothing of it is left."""
        if self._ready is None:
            self._ready = await self._prepare()
        return self._ready

    async def _prepare(self) -> IncomingReady:
        spec, pinned, name = self._request.spec, self._request.pinned, self.order.vm
        place = Place.of(self._vms.config, name)
        self._vms.claim(name)
        try:
            machine, plugs = await launch(
                self._vms.config,
                place,
                spec=spec,
                pinned=pinned,
                incoming=True,
                generation=f"{self.order.migration}.{self.order.attempt}",
            )
            try:
                address = self._vms.config.migration_address
                uri = await memory.prepare_receiver(machine.monitor, address=address, multifd=self._request.multifd)
                self._unmute = [await port.prepare_unmute(plug.tap, plug.mac) for plug in plugs]
                passport = Passport(spec=spec, pinned=pinned, plugs=plugs)
                place.write_passport(passport)
                vm = LocalVm(passport, self._vms.owner(name), machine, VmState.migrating)
                vm.owner.take(Cue.armed, **self._about(), **process_of(machine))
            except BaseException:
                place.passport.unlink(missing_ok=True)
                await machine.retire()
                raise
        finally:
            self._vms.unclaim(name)
        self._vm = vm
        await self._listen()
        self._vms.welcome(vm)
        return IncomingReady(uri=uri, boot_id=boot_id())

    def _about(self) -> dict[str, str | int]:
        return {
            "migration": self.order.migration,
            "epoch": self.order.epoch,
            "count": 0,
            "peer": self._request.source,
        }

    async def go(self, request: Go) -> GoAnswer:
        """The VM runs here, or it never will; the same answer however often it is asked."""
        if not self.verdict.done():
            await self._act(self.vm.owner.take(Cue.went, count=request.count))
            if self._loaded and self.vm.owner.state == Ownership.hold:
                await self._act(self.vm.owner.take(Cue.loaded))
        return await asyncio.shield(self.verdict)

    async def abort(self) -> None:
        """What waited here is gone; `Unresolved` if it was told to run."""
        if self._vm is None:
            return
        if self._vm.owner.state not in {Ownership.armed, Ownership.closed}:
            raise Unresolved(f"{self.order.vm} was handed to this host, which is its owner or will be: see its journal")
        await self._act(self._vm.owner.take(Cue.aborted))
        await self._quit()
        await self.close()

    async def settle(self) -> Settled:
        """The first announcements are out, and nothing of the hand-over listens any more."""
        await self._announced_first.wait()
        await self.close()
        return Settled(announcements=tuple(self._announced), settled=True)

    async def close(self) -> None:
        """Nothing of this attempt listens any more."""
        if self._task and self._task is not asyncio.current_task():
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        for unmute in self._unmute:
            unmute.close()

    async def _listen(self) -> None:
        armed = asyncio.Event()
        self._task = asyncio.create_task(self._follow(armed), name=f"incoming {self.order.vm}")
        await armed.wait()

    async def _follow(self, armed: asyncio.Event) -> None:
        try:
            with self.vm.machine.monitor.listening() as events:
                armed.set()
                async for event in events:
                    await self._heed(event)
                    if self.vm.owner.state in {Ownership.running, Ownership.closed, Ownership.died}:
                        return
        except GodwitError as error:
            armed.set()
            log.error("lost the incoming QEMU", vm=self.order.vm, error=str(error))

    async def _heed(self, event: QmpEvent) -> None:
        """What an event of the waiting QEMU leads to."""
        owner = self.vm.owner
        if event.name == "MIGRATION" and event.data["status"] == "completed":
            self._loaded = True
            self._note(event.at_ms, "loaded at the destination")
            await self._act(owner.take(Cue.loaded))
        elif event.name == "RESUME" and owner.state == Ownership.conting:
            self._resumed_at_ms = event.at_ms
            self._note(event.at_ms, "vCPUs run at the destination")
            await self._act(owner.take(Cue.resumed))
        elif _is_failure(event) and owner.state != Ownership.closed:
            await self._failed()

    async def _failed(self) -> None:
        """Before CONTING a QEMU that failed to load has never run the VM."""
        owner = self.vm.owner
        cue = Cue.qemu_died_unrun if owner.state in {Ownership.armed, Ownership.hold} else Cue.qemu_died
        await self._act(owner.take(cue))
        if owner.state == Ownership.closed:
            await self._quit()

    async def _act(self, acts: tuple[Act, ...]) -> None:
        for act in acts:
            await self._do[act]()

    async def _commit_network(self) -> None:
        """Blocks the loop for some 0.1 ms: `cont` may not come before it."""
        for unmute in self._unmute:
            unmute()

    async def _cont(self) -> None:
        try:
            await self.vm.machine.cont()
        except Failed as error:
            log.critical("somebody else holds a disk of this VM", vm=self.order.vm, error=str(error))
            raise Unresolved(f"{self.order.vm} may not start: {error}; find out who holds its disk") from error

    async def _quit(self) -> None:
        """Once, and to its end, whoever asks and however often."""
        if self._ending is None:
            self._ending = asyncio.create_task(self._end())
        await asyncio.shield(self._ending)

    async def _end(self) -> None:
        self.vm.stopping = True
        await self.vm.machine.retire()
        self._vms.part(self.vm, VmState.stopped)

    async def _answer_running(self) -> None:
        self._vms.tell(self.vm, VmState.running)
        answer = GoAnswer(verdict="running", resumed_at_unix_ms=self._resumed_at_ms, timeline=tuple(self._timeline))
        if not self.verdict.done():
            self.verdict.set_result(answer)

    async def _answer_dead(self) -> None:
        if not self.verdict.done():
            self.verdict.set_result(GoAnswer(verdict="returned-dead", reason="its QEMU at the destination ended"))

    async def _announce(self) -> None:
        await memory.announce(self.vm.machine.monitor, rounds=ROUNDS)
        self._announced.append(Announcement(kind="announce-self", at_ms=0.0))
        self._announced_first.set()

    def _note(self, at_ms: float, text: str) -> None:
        self._timeline.append(TimelineEntry(at_ms=at_ms, event=text))


def _is_failure(event: QmpEvent) -> bool:
    return event.name == EXITED or (event.name == "MIGRATION" and event.data["status"] == "failed")

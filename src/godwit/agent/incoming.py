"""A VM on its way in: what the manager's verbs for a destination do, and the other half of the hand-over."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import time
from collections.abc import Awaitable, Callable

from godwit.agent.announcing import Announcer
from godwit.agent.local import LocalVm
from godwit.agent.vms import Vms
from godwit.contract.host import Go, GoAnswer, PrepareIncoming, Settled
from godwit.core.errors import Failed, GodwitError, Unreachable, Unresolved
from godwit.core.model import VmState
from godwit.core.ownership import Act, Cue, Ownership
from godwit.core.report import TimelineEntry
from godwit.network import port, tunnel
from godwit.network.netlink import Prepared
from godwit.network.ring import Injector, TapHandle
from godwit.network.tunnel import inbound_name
from godwit.qemu.keeper import EXITED
from godwit.qemu.monitor import QmpEvent

log = logging.getLogger("godwit.agent")


class Incoming:
    """One attempt to receive one VM. `verdict` is set when it is known whether it runs here."""

    def __init__(self, vms: Vms, vm: LocalVm, request: PrepareIncoming) -> None:
        self.order = request.order()
        self.request = request
        self.vm = vm
        self._vms = vms
        self._task: asyncio.Task[None] | None = None
        self._ending: asyncio.Task[None] | None = None
        self._loaded = False
        self._resumed_at_ms: float | None = None
        self._timeline: list[TimelineEntry] = []
        self._unmute: tuple[Prepared, ...] = ()
        self._announcer = Announcer(vm)
        self._heard = asyncio.Event()
        self.verdict: asyncio.Future[GoAnswer] = asyncio.get_running_loop().create_future()
        self._do: dict[Act, Callable[[], Awaitable[None]]] = {
            Act.commit_network: self._commit_network,
            Act.cont: self._cont,
            Act.quit_qemu: self._quit,
            Act.answer_running: self._answer_running,
            Act.answer_dead: self._answer_dead,
            Act.announce: self._announce,
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
        if self.vm.owner.state not in {Ownership.armed, Ownership.closed}:
            raise Unresolved(f"{self.order.vm} was handed to this host, which is its owner or will be: see its journal")
        await self._act(self.vm.owner.take(Cue.aborted))
        await self._quit()
        await self.close()

    async def settle(self) -> Settled:
        """The first announcements are out, and nothing of the hand-over listens any more."""
        await self._announcer.begun.wait()
        await self.close()
        return Settled(announcements=tuple(self._announcer.made))

    async def stop_announcing(self) -> None:
        """The VM is about to go on."""
        await self._announcer.end()

    async def relay_ended(self) -> None:
        """The source relays no more: our end is gone, and so is the need to announce."""
        await self._announcer.end()
        await self._close_tunnels()

    async def _close_tunnels(self) -> None:
        for plug in self.vm.passport.plugs:
            await tunnel.close(inbound_name(plug.tap))

    async def close(self) -> None:
        """Nothing of this attempt listens any more."""
        if self._task and self._task is not asyncio.current_task():
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        for unmute in self._unmute:
            unmute.close()

    async def listen(self) -> None:
        """QEMU's events are heard and the network can be given to it; what happened before has been looked at."""
        plugs = self.vm.passport.plugs
        self._unmute = tuple([await port.prepare_unmute(plug.tap, plug.mac) for plug in plugs])
        self._task = asyncio.create_task(self._follow(), name=f"incoming {self.order.vm}")
        await self._heard.wait()

    async def _follow(self) -> None:
        try:
            while True:
                with contextlib.suppress(Unreachable):
                    await self._heed_all()
                    return
                await self.vm.found_again()
        except GodwitError as error:
            log.error("the hand-over of %s stands still: %s", self.order.vm, error)
        finally:
            self._heard.set()

    async def _heed_all(self) -> None:
        with self.vm.machine.monitor.listening() as events:
            await self._look()
            self._heard.set()
            while not self._is_over():
                await self._heed(await anext(events))

    def _is_over(self) -> bool:
        return self.vm.owner.state in {Ownership.running, Ownership.closed, Ownership.died}

    async def _look(self) -> None:
        """After a restart, of the agent or of the keeper: what was missed has happened all the same."""
        for each in await self.vm.machine.events_since(0):
            await self._heed(each.event)
        if self.vm.owner.state == Ownership.conting and await self.vm.machine.runstate() == "paused":
            await self._act((Act.commit_network, Act.cont))

    async def _heed(self, event: QmpEvent) -> None:
        """What an event of the waiting QEMU leads to, the first time it is heard."""
        owner = self.vm.owner
        if event.name == "MIGRATION" and event.data["status"] == "completed" and not self._loaded:
            self._loaded = True
            self._note(event.at_ms, "loaded at the destination")
            if owner.state in {Ownership.armed, Ownership.hold}:
                await self._act(owner.take(Cue.loaded))
        elif event.name == "RESUME" and self._resumed_at_ms is None:
            self._resumed_at_ms = event.at_ms
            self._note(event.at_ms, "vCPUs run at the destination")
            await self._resumed()
        elif _is_failure(event) and not self._is_over():
            await self._failed()

    async def _resumed(self) -> None:
        if self.vm.owner.state == Ownership.conting:
            await self._act(self.vm.owner.take(Cue.resumed))
        elif self.vm.owner.state == Ownership.running:
            await self._act((Act.answer_running, Act.announce))

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
            log.critical("somebody else holds a disk of %s: %s", self.order.vm, error)
            raise Unresolved(f"{self.order.vm} may not start: {error}; find out who holds its disk") from error

    async def _quit(self) -> None:
        """Once, and to its end, whoever asks and however often."""
        if self._ending is None:
            self._ending = asyncio.create_task(self._end())
        await asyncio.shield(self._ending)

    async def _end(self) -> None:
        """What waits in the taps goes back to the source, whose VM it is for."""
        self.vm.stopping = True
        await asyncio.to_thread(_pour_back, self.vm)
        await self._close_tunnels()
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
        assert self._resumed_at_ms is not None
        since_s = max(0.0, time.time() - self._resumed_at_ms / 1000)
        self._announcer.begin(asyncio.get_running_loop().time() - since_s)

    def _note(self, at_ms: float, text: str) -> None:
        self._timeline.append(TimelineEntry(at_ms=at_ms, event=text))


def _is_failure(event: QmpEvent) -> bool:
    return event.name == EXITED or (event.name == "MIGRATION" and event.data["status"] == "failed")


def _pour_back(vm: LocalVm) -> None:
    """Best effort: a VM whose QEMU is dead has no ring any more."""
    with contextlib.suppress(GodwitError, OSError):
        fds = json.loads((vm.machine.run_dir / "launch.json").read_text())["tap_fds"]
        for plug, fd in zip(vm.passport.plugs, fds, strict=True):
            handle, injector = TapHandle.of(vm.machine.qemu_pid, fd), Injector(inbound_name(plug.tap))
            injector.send(handle.drain())
            handle.close()
            injector.close()

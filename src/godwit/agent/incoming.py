"""A VM on its way in: what the manager's verbs for a destination do, and the other half of the hand-over."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import time
from pathlib import Path

from godwit.agent.alarming import raise_alarm
from godwit.agent.announcing import Announcer
from godwit.agent.belongings import Unpacking
from godwit.agent.course import LOADED, Course, Side
from godwit.agent.hearing import Hearing
from godwit.agent.local import AT_HOME, LocalVm
from godwit.agent.observing import AFTER_MS, Window
from godwit.agent.vms import Vms
from godwit.contract.host import Go, GoAnswer, Heard, PrepareIncoming, Settled
from godwit.core.errors import Broken, Failed, GodwitError, Unreachable, Unresolved
from godwit.core.milestones import Milestone
from godwit.core.model import VmState
from godwit.core.ownership import Act, Cue, Ownership, Stream
from godwit.core.report import TimelineEntry
from godwit.host import priority
from godwit.network import tunnel
from godwit.network.ring import Injector, TapHandle
from godwit.network.switch import Call
from godwit.network.tunnel import inbound_name
from godwit.qemu import mirror, secrecy, sockets
from godwit.qemu.evidence import History
from godwit.qemu.monitor import QmpEvent

log = logging.getLogger("godwit.agent")


ENDS = frozenset({Ownership.running, Ownership.closed, Ownership.lost, Ownership.died})
WAITING = frozenset({Ownership.hold, Ownership.keep, Ownership.conting})
FOREMOST_S = 0.25
"""After RESUME a guest begins with cold caches and all that was kept for it: so long it gets a CPU before others do."""


class Incoming:
    """One attempt to receive one VM."""

    def __init__(self, vms: Vms, vm: LocalVm, request: PrepareIncoming) -> None:
        self.order = request.order()
        self.request = request
        self.vm = vm
        self._vms = vms
        self._tasks: list[asyncio.Task[None]] = []
        self._ending: asyncio.Task[None] | None = None
        self._loaded = False
        self._refusal = ""
        self._resumed_at_ms: float | None = None
        self._timeline: list[TimelineEntry] = []
        self._unmute: tuple[Call, ...] = ()
        self.belongings = Unpacking(vm)
        self._announcer = Announcer(vm)
        self._hearing = Hearing(vm.passport.plugs)
        self._answer: asyncio.Future[GoAnswer] = asyncio.get_running_loop().create_future()
        self.course = Course(vm, self.order, self._side())

    @property
    def key_place(self) -> Path:
        """Where the key of its memory stream lies, if it has one."""
        run_dir, order = self.vm.machine.run_dir, self.order
        return secrecy.place_of(run_dir, "server", order.migration, order.attempt)

    def window(self) -> Window | None:
        """Which headers tell of the switch-over; none as long as the VM does not run here."""
        return None if self._resumed_at_ms is None else Window(0.0, self._resumed_at_ms + AFTER_MS, is_last=True)

    def _side(self) -> Side:
        return Side(
            name="destination",
            acts={
                Act.commit_network: self._commit_network,
                Act.cont: self._cont,
                Act.quit_qemu: self._quit_soon,
                Act.answer_running: self._answer_running,
                Act.answer_ran: self._answer_running,
                Act.answer_returned: lambda: self._tell("returned", "the end of its memory did not arrive"),
                Act.answer_dead: lambda: self._tell("returned-dead", "its QEMU at the destination ended"),
                Act.answer_lost: lambda: self._tell("lost", "nobody knows whether it ran at the destination"),
                Act.announce: self._announce,
                Act.alarm: self._alarm,
            },
            ends=ENDS,
            changed=lambda: None,
            is_waiting=lambda: self.vm.owner.state in WAITING,
            heed=self._heed,
            recall=self._recall,
            waiting_stream=Stream.none,
        )

    async def go(self, request: Go) -> GoAnswer:
        """The VM runs here, or it never will, or the token goes back; asked again, it says what is so then."""
        if self._answer.done():
            self._answer = asyncio.get_running_loop().create_future()
        answer = self._answer
        self._note(time.time() * 1000, Milestone.told)
        priority.put_foremost(self.vm.machine.qemu_pid)
        await self.course.take(Cue.went_last if request.last else Cue.went, count=request.count)
        if self._loaded:
            await self.course.look(LOADED)
        return await asyncio.shield(answer)

    async def abort(self) -> None:
        """What waited here is gone; `Unresolved` if it was told to run."""
        try:
            is_ours = await self.course.take(Cue.aborted)
        except Broken:
            raise Unresolved(
                f"{self.order.vm} was handed to this host, which is its owner or will be: see its journal"
            ) from None
        was_armed = self.vm.owner.state_for(self.order) is not None
        if is_ours or not was_armed:  # else it is another order's; one whose agent died before arming it cannot run
            await self._quit()
        await self.close()

    async def settle(self) -> Settled:
        """The first announcements are out, and nothing of the hand-over listens any more."""
        await self._announcer.begun.wait()
        await self.close()
        return Settled(announcements=tuple(self._announcer.made), left_by=tuple(self._announcer.left_by))

    async def stop_announcing(self) -> None:
        """The VM is about to go on."""
        await self._announcer.end()

    async def relay_ended(self) -> None:
        """The source relays no more: our end is gone, and so is the need to announce."""
        await self._announcer.end()
        await self._close_tunnels()

    async def go_on(self) -> None:
        """After the agent's own restart, of a VM that runs here: its relay stands, and it is announced further."""
        await self._hearing.listen()
        self._announcer.go_on()

    async def heard(self) -> Heard:
        """What came for the VM so far, by the relay and by the uplinks."""
        return await self._hearing.look()

    async def leave(self) -> None:
        """The agent ends."""
        await self._announcer.end()
        self._hearing.close()
        await self.close()

    async def _close_tunnels(self) -> None:
        self._hearing.close()
        for plug in self.vm.passport.plugs:
            await tunnel.close(inbound_name(plug.tap))

    async def close(self) -> None:
        """Nothing of this attempt listens any more."""
        tasks = [each for each in self._tasks if each is not asyncio.current_task()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self.course.close()
        for unmute in self._unmute:
            unmute.close()
        self.belongings.close()

    async def listen(self) -> None:
        """QEMU's events are heard and the network can be given to it; what happened before has been looked at."""
        if not self.vm.machine.gone.is_set():
            await self._hearing.listen()
            plugs = self.vm.passport.plugs
            self._unmute = tuple([await plug.switch.prepare_unmute(plug.tap, plug.mac) for plug in plugs])
        following = asyncio.create_task(self._follow(), name=f"incoming {self.order.vm}")
        self._tasks = [following, asyncio.create_task(self._mind_the_stream())]
        begun = asyncio.create_task(self.course.begun.wait())
        await asyncio.wait({begun, following}, return_when=asyncio.FIRST_COMPLETED)
        begun.cancel()

    async def _follow(self) -> None:
        if self.vm.owner.state in AT_HOME:
            await self._goes_on()
            return
        await self.course.follow()
        if not self.vm.owner.is_owner:
            await self._quit()

    async def _goes_on(self) -> None:
        """It ran here before our time; the network may not know."""
        self._recall(await self.vm.machine.history())
        await self._answer_running()
        await self._announce()
        self.course.begun.set()

    async def _mind_the_stream(self) -> None:
        """A stream that was sent and does not arrive is given back; one that nobody will begin is given up."""
        waits, since_s, seen = self.vm.waits, 0.0, (self.vm.owner.state, 0)
        while not self.course.over.is_set():
            await asyncio.sleep(waits.look_s)
            now = (self.vm.owner.state, await self._received_bytes())
            since_s, seen = (since_s + waits.look_s, seen) if now == seen else (0.0, now)
            if now[0] == Ownership.hold and since_s >= waits.stall_s:
                await self.course.stall(Cue.stalled)
            elif now == (Ownership.keep, 0) and since_s >= waits.never_came_s:
                await self.course.stall(Cue.never_came)

    async def _received_bytes(self) -> int:
        """Of the stream that is waited for, so far; 0: nobody has connected, or nobody waits."""
        if self.vm.owner.state not in {Ownership.hold, Ownership.keep}:
            return 0
        with contextlib.suppress(OSError):
            return await sockets.received_bytes(self.vm.machine.qemu_pid, self.vm.passport.uri)
        return 0

    def _recall(self, history: History) -> None:
        for each in history.events:
            self._heed(each.event)

    def _heed(self, event: QmpEvent) -> None:
        """What the report and the answers need to know, the first time it is heard."""
        if event.name == "MIGRATION" and event.data["status"] == "completed" and not self._loaded:
            self._loaded = True
            self._note(event.at_ms, Milestone.loaded)
            self._note(time.time() * 1000, Milestone.heard)
        elif event.name == "RESUME" and self._resumed_at_ms is None:
            self._resumed_at_ms = event.at_ms
            self._note(event.at_ms, Milestone.resumed)

    async def _commit_network(self) -> None:
        """Blocks the loop for some 0.1 ms: `cont` may not come before it."""
        self._note(time.time() * 1000, Milestone.written)
        for unmute in self._unmute:
            unmute()
        self.belongings.commit()

    async def _cont(self) -> None:
        try:
            if self.request.disks:
                await mirror.stop_serving(self.vm.machine.monitor, self.request.disks)
            self._note(time.time() * 1000, Milestone.started)
            await self.vm.machine.cont()
        except Unreachable:
            raise
        except Failed as error:
            self._refusal = error.message
            self.course.soon(self.course.take(Cue.refused))

    async def _alarm(self) -> None:
        await raise_alarm(self.vm, self._refusal)

    async def _quit_soon(self) -> None:
        self.course.soon(self._quit())

    async def _quit(self) -> None:
        """Once, and to its end, whoever asks and however often; again, if that has failed."""
        if self._ending is None or _has_failed(self._ending):
            self._ending = asyncio.create_task(self._end())
        await asyncio.shield(self._ending)

    async def _end(self) -> None:
        """What waits in the taps goes back to the source, whose VM it is for."""
        self.vm.stopping = True
        await asyncio.to_thread(_pour_back, self.vm)
        await self._close_tunnels()
        await self.belongings.undo()
        await self._vms.retire(self.vm)
        self._vms.part(self.vm, VmState.stopped)

    async def _answer_running(self) -> None:
        """By whatever way it came to run; a source that asks again has put it foremost again."""
        asyncio.get_running_loop().call_later(FOREMOST_S, priority.put_back, self.vm.machine.qemu_pid)
        self.vm.alarm = ""
        if self.vm.owner.state == Ownership.running:
            self._vms.tell(self.vm, VmState.running)
        self._answered(
            GoAnswer(verdict="running", resumed_at_unix_ms=self._resumed_at_ms, timeline=tuple(self._timeline))
        )

    async def _tell(self, verdict: str, reason: str) -> None:
        self._answered(GoAnswer(verdict=verdict, reason=reason))

    def _answered(self, answer: GoAnswer) -> None:
        if self._answer.done():
            self._answer = asyncio.get_running_loop().create_future()
        self._answer.set_result(answer)

    async def _announce(self) -> None:
        since_s = max(0.0, time.time() - (self._resumed_at_ms or time.time() * 1000) / 1000)
        self._announcer.begin(asyncio.get_running_loop().time() - since_s)

    def _note(self, at_ms: float, text: str) -> None:
        self._timeline.append(TimelineEntry(at_ms=at_ms, event=text))


def _has_failed(task: asyncio.Task[None]) -> bool:
    return task.done() and (task.cancelled() or task.exception() is not None)


def _pour_back(vm: LocalVm) -> None:
    """Best effort: a VM whose QEMU is dead has no ring any more."""
    with contextlib.suppress(GodwitError, OSError):
        fds = json.loads((vm.machine.run_dir / "launch.json").read_text())["tap_fds"]
        for plug, fd in zip(vm.passport.plugs, fds, strict=True):
            handle, injector = TapHandle.of(vm.machine.qemu_pid, fd), Injector(inbound_name(plug.tap))
            injector.send(handle.drain())
            handle.close()
            injector.close()

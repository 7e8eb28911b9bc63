"""The source's half of the hand-over, from OFFER to DONE: driven by QEMU's events, never by a poll.

The table in core/ownership.py says what each event leads to; this file only carries it out. A newcomer reads
`heed` (events to cues) and `_do` (acts to calls); the rest is bookkeeping for the report.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable

from godwit.agent.local import LocalVm
from godwit.agent.telling import Telling
from godwit.contract.host import Go, GoAnswer, Order, Peer
from godwit.core.errors import Failed, GodwitError, Unreachable, Unresolved
from godwit.core.migration import EventKind
from godwit.core.ownership import Act, Cue, Ownership
from godwit.core.report import TimelineEntry
from godwit.qemu import memory
from godwit.qemu.keeper import EXITED
from godwit.qemu.monitor import QmpEvent

log = logging.getLogger("godwit.agent")

WATCHDOG_S = 5.0
"""From STOP to the stream's end; longer means that the link swallows it, and the stream is broken off."""
GO_AGAIN_S = 0.5
ABORT_S = 2.0
RESUME_S = 10.0

BROKEN = {"failed", "cancelled"}


class Blackout:
    """One hand-over at its source. `result` is set when it is known who runs the VM."""

    def __init__(self, vm: LocalVm, order: Order, peer: Peer, telling: Telling, *, uri: str) -> None:
        self._vm = vm
        self._order = order
        self._peer = peer
        self._telling = telling
        self._uri = uri
        self._broken = False
        self._refusal: str | None = None
        self._answer: GoAnswer | None = None
        self._watchdog: asyncio.TimerHandle | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self.stopped_at_ms: float | None = None
        self.timeline: list[TimelineEntry] = []
        """`at_ms` here is Unix time on the source's clock."""
        self.result: asyncio.Future[GoAnswer] = asyncio.get_running_loop().create_future()
        self._do: dict[Act, Callable[[], Awaitable[None]]] = {
            Act.start_sending: self._start_sending,
            Act.send_go: lambda: self._send_go(last=False),
            Act.send_go_last: lambda: self._send_go(last=True),
            Act.send_abort: self._send_abort,
            Act.cont: self._take_back,
            Act.quit_qemu: self._quit,
        }

    async def offer(self, destination: str) -> None:
        """From here on QEMU may stop the VM by itself."""
        await self._act(
            self._vm.owner.take(
                Cue.offered,
                migration=self._order.migration,
                epoch=self._order.epoch,
                count=0,
                peer=destination,
                qemu_pid=self._vm.machine.qemu_pid,
                qemu_start_ticks=self._vm.machine.qemu_start_ticks,
            )
        )

    async def heed(self, event: QmpEvent) -> None:
        """What an event of the source's QEMU leads to."""
        if event.name == "STOP":
            self._stopped(event)
        elif event.name == "MIGRATION":
            await self._status(event.data["status"], event.at_ms)
        elif event.name == "RESUME" and self._broken:
            await self._runs_again()
        elif event.name == EXITED:
            await self._act(self._vm.owner.take(Cue.qemu_died))

    async def look(self) -> None:
        """After a restart, of the agent or of the keeper: what the journal says was begun, and QEMU says now."""
        self.stopped_at_ms = await self._when_stopped()
        state = self._vm.owner.state
        if state == Ownership.offer:
            sample = await memory.sample(self._vm.machine.monitor)
            await self._status("failed" if sample.status == "none" else sample.status, time.time() * 1000)
        elif state == Ownership.reclaim:
            await self._take_back()
        elif state in {Ownership.given, Ownership.done}:
            await self._send_go(last=False)

    async def _status(self, status: str, at_ms: float) -> None:
        """What QEMU's word on the migration leads to, the first time it is heard."""
        if self._vm.owner.state != Ownership.offer:
            return
        if status == "completed":
            self._note(at_ms, "memory and devices sent")
            await self._act(self._vm.owner.take(Cue.completed, count=1))
        elif status in BROKEN:
            self._broken = True
            if await self._vm.machine.runstate() == "running":
                await self._runs_again()

    async def _when_stopped(self) -> float | None:
        """QEMU's last STOP, by the keeper's log."""
        stops = [each.event.at_ms for each in await self._vm.machine.events_since(0) if each.event.name == "STOP"]
        return stops[-1] if stops else None

    def give_up(self, error: GodwitError) -> None:
        """QEMU cannot be heard any more; who runs the VM is what the journal and QEMU say, not we."""
        self._settle(error)

    def close(self) -> None:
        """No timer is left."""
        if self._watchdog:
            self._watchdog.cancel()

    async def _act(self, acts: tuple[Act, ...]) -> None:
        for act in acts:
            await self._do[act]()

    def _stopped(self, event: QmpEvent) -> None:
        self.stopped_at_ms = event.at_ms
        self._note(event.at_ms, "vCPUs stopped at the source")
        self._telling.tell(EventKind.stopped, "vCPUs stopped at the source")
        self._watchdog = asyncio.get_running_loop().call_later(WATCHDOG_S, self._bark)

    def _bark(self) -> None:
        task = asyncio.create_task(memory.break_off(self._vm.machine.monitor))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _start_sending(self) -> None:
        try:
            await memory.start_sending(self._vm.machine.monitor, self._uri)
        except Unreachable:
            raise
        except Failed as error:  # there is no stream that could stop the VM
            self._refusal = error.message
            await self._runs_again()

    async def _send_go(self, *, last: bool) -> None:
        """The token is at the destination; asked again until it answers: nobody takes it back because time passed."""
        self.close()
        order = Go(**self._order.model_dump(), count=1, last=last)
        while True:
            try:
                answer = await self._peer.go(order)
                break
            except Unreachable:
                await asyncio.sleep(GO_AGAIN_S)
            except GodwitError as error:
                self._settle(Unresolved(f"the destination did not take {self._order.vm}: {error}"))
                return
        await self._answered(answer)

    async def _answered(self, answer: GoAnswer) -> None:
        self._answer = answer
        if self._vm.owner.state == Ownership.done:
            self._settle(answer)
        elif answer.verdict == "running":
            await self._act(self._vm.owner.take(Cue.answered_running))
        else:
            await self._act(self._vm.owner.take(Cue.answered_dead))
            if self._vm.owner.state == Ownership.lost:
                self._settle(Unresolved(f"{self._order.vm} is lost: both of its QEMUs ended, neither can run it again"))

    async def _quit(self) -> None:
        """The journal says DONE: the destination runs the VM. QEMU ends when the story says `retire`."""
        assert self._answer is not None
        self._settle(self._answer)

    async def _take_back(self) -> None:
        if await self._vm.machine.runstate() != "running":
            with self._vm.machine.monitor.listening() as events:
                await self._vm.machine.cont()
                await events.wait_for(lambda event: event.name == "RESUME", timeout_s=RESUME_S)
        await self._act(self._vm.owner.take(Cue.resumed))

    async def _runs_again(self) -> None:
        self.close()
        await self._act(self._vm.owner.take(Cue.failed_running))

    async def _send_abort(self) -> None:
        """The VM runs here. Telling the destination is a courtesy: the manager's undo tells it too."""
        why = await self._reason()
        try:
            async with asyncio.timeout(ABORT_S):
                await self._peer.abort(self._order)
        except (GodwitError, TimeoutError) as error:
            log.warning("could not tell the destination of %s: %s", self._order.vm, error)
        self._settle(Failed(why, "stream-broke"))

    async def _reason(self) -> str:
        sample = await memory.sample(self._vm.machine.monitor)
        why = self._refusal or sample.error or "the stream was broken off"
        return f"{self._order.vm} was not moved and runs on where it was: {why}"

    def _settle(self, outcome: GoAnswer | GodwitError) -> None:
        self._telling.finish(outcome if isinstance(outcome, GodwitError) else None)
        if self.result.done():
            return
        if isinstance(outcome, GodwitError):
            self.result.set_exception(outcome)
            self.result.exception()  # whoever awaits it gets it; nobody has to
        else:
            self.result.set_result(outcome)

    def _note(self, at_ms: float, text: str) -> None:
        self.timeline.append(TimelineEntry(at_ms=at_ms, event=text))

"""The source's half of the hand-over, from OFFER to DONE: what the table's acts are here, and what they lead to.

core/ownership.py says what follows what, agent/course.py when; this file only does it, and notes the times for the
report. The result is known when the journal says who runs the VM, and nobody waits for it inside an act.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from contextlib import suppress
from time import time

from godwit.agent.alarming import raise_alarm
from godwit.agent.course import Course, Side
from godwit.agent.local import AT_HOME, LocalVm
from godwit.agent.switching import complete_disks
from godwit.agent.telling import Telling
from godwit.contract.host import Go, GoAnswer, Order, Peer
from godwit.core.errors import Failed, GodwitError, Unreachable, Unresolved
from godwit.core.migration import EventKind
from godwit.core.milestones import Milestone
from godwit.core.ownership import Act, Cue, Ownership
from godwit.core.report import TimelineEntry
from godwit.qemu import memory
from godwit.qemu.evidence import History
from godwit.qemu.monitor import QmpEvent

log = logging.getLogger("godwit.agent")

ABORT_S = 2.0
PAUSED = "pre-switchover"
"""QEMU's word for a stream that waits, with vCPUs stopped, until disks are dealt with."""
ENDS = AT_HOME | {Ownership.done, Ownership.died}
ASKING = frozenset({Ownership.given, Ownership.last})
ANSWERS = {
    "running": Cue.answered_running,
    "returned": Cue.answered_returned,
    "returned-dead": Cue.answered_dead,
    "lost": Cue.answered_lost,
}
"""The destination's word for each."""


class Blackout:
    """One hand-over at its source. `result` is set when it is known who runs the VM."""

    def __init__(self, vm: LocalVm, order: Order, peer: Peer, telling: Telling, *, uri: str, may_last_s: float) -> None:
        """`may_last_s` is the longest blackout that was asked for: only a longer one alarms the watchdog."""
        self._vm = vm
        self._order = order
        self._peer = peer
        self._telling = telling
        self._uri = uri
        self._watchdog_s = vm.waits.watchdog_s + may_last_s
        self._refusal: str | None = None
        self._answer: GoAnswer | None = None
        self._asking: asyncio.Task[None] | None = None
        self._watchdog: asyncio.TimerHandle | None = None
        self._overdue = False
        self.heard: Callable[[QmpEvent], None] = lambda _: None
        """Is told each event, too."""
        self.why_broken: Failed | None = None
        """Why the stream is being broken off, if it is."""
        self.stopped_at_ms: float | None = None
        self.timeline: list[TimelineEntry] = []
        """`at_ms` here is Unix time on the source's clock."""
        self.result: asyncio.Future[GoAnswer] = asyncio.get_running_loop().create_future()
        self.course = Course(vm, order, self._side())

    def _side(self) -> Side:
        return Side(
            name="source",
            acts={
                Act.start_sending: self._start_sending,
                Act.send_go: self._ask,
                Act.send_go_last: self._ask_again,
                Act.send_abort: self._tell_abort,
                Act.cont: self._take_back,
                Act.quit_qemu: self._given_away,
                Act.alarm: self._alarm,
            },
            ends=ENDS,
            changed=self._changed,
            is_waiting=self._is_waiting,
            heed=self._heed,
            recall=self._recall,
            about={Cue.completed: {"count": 1}},
            patience_s={Cue.failed_frozen: self._vm.waits.resume_s},
        )

    async def offer(self, destination: str) -> None:
        """From here on QEMU may stop the VM by itself; an attempt that was offered before has failed."""
        if self._vm.owner.is_about(self._order):
            self._settle(Failed(self._why("an earlier attempt was undone"), "stream-broke"))
            return
        machine = self._vm.machine
        await self.course.take(
            Cue.offered,
            migration=self._order.migration,
            epoch=self._order.epoch,
            count=0,
            peer=destination,
            qemu_pid=machine.qemu_pid,
            qemu_start_ticks=machine.qemu_start_ticks,
        )

    async def run(self) -> None:
        """The hand-over is over, and `result` is known or about to be."""
        await self.course.follow()
        if self._vm.owner.state == Ownership.done and self._answer is None:
            await self._ask()  # after a restart: for what it tells

    def give_up(self, error: GodwitError) -> None:
        """It could not begin, or cannot be followed; who runs the VM is what the journal says, not we."""
        self._settle(error)

    async def close(self) -> None:
        """Nothing of it goes on here; QEMU and journal stay as they are."""
        self._dismiss_watchdog()
        if self._asking:
            self._asking.cancel()
            await asyncio.gather(self._asking, return_exceptions=True)
        await self.course.close()

    def _changed(self) -> None:
        if self._vm.owner.state == Ownership.lost:
            why = f"{self._order.vm} may not run at its source any more, and does not at its destination"
            self._settle(Unresolved(why, "lost"))

    def _is_waiting(self) -> bool:
        state = self._vm.owner.state
        return state in ASKING | {Ownership.reclaim} or (state == Ownership.offer and self._overdue)

    def _heed(self, event: QmpEvent) -> None:
        self.heard(event)
        if event.name == "STOP":
            self.stopped_at_ms = event.at_ms
            self._note(event.at_ms, Milestone.stopped)
            self._telling.tell(EventKind.stopped, Milestone.stopped)
            self._watch_over()
        elif event.name == "MIGRATION" and event.data["status"] == "completed":
            self._note(event.at_ms, Milestone.sent)
        elif event.name == "MIGRATION" and event.data["status"] == PAUSED:
            self.course.soon(self._complete_disks())

    def _recall(self, history: History) -> None:
        if self._vm.owner.state in AT_HOME:
            return
        if self.stopped_at_ms is None:
            self.stopped_at_ms = history.of_last_stream().stopped_at_ms()
            if self.stopped_at_ms is not None:
                self._watch_over()
        if self.stopped_at_ms is not None:
            self.course.soon(self._found_paused())

    async def _complete_disks(self) -> None:
        """The stream, which waits for that, goes on."""
        self._refusal = await complete_disks(self._vm)
        self._note(time() * 1000, self._refusal or "the copies of its disks are complete")

    async def _found_paused(self) -> None:
        """After a restart, ours or the keeper's: what QEMU said may not have been heard, or not have been answered."""
        if (await memory.sample(self._vm.machine.monitor)).status == PAUSED:
            await self._complete_disks()

    def _watch_over(self) -> None:
        self._dismiss_watchdog()
        self._watchdog = asyncio.get_running_loop().call_later(self._watchdog_s, self._bark)

    def _dismiss_watchdog(self) -> None:
        if self._watchdog:
            self._watchdog.cancel()

    def _bark(self) -> None:
        """The link swallows the stream's end: QEMU answers nothing, and is freed out of band."""
        if self._vm.owner.state == Ownership.offer:
            self._overdue = True
            self.course.soon(memory.break_off(self._vm.machine.monitor))
            self._watch_over()

    async def _start_sending(self) -> None:
        try:
            await memory.start_sending(self._vm.machine.monitor, self._uri)
        except Unreachable as error:  # whoever listens finds the keeper again, and looks whether there is a stream
            log.info("%s at the source: %s", self._order.vm, error)
        except Failed as error:  # there is no stream that could stop the VM
            self._refusal = error.message
            self.course.soon(self.course.look())

    async def _ask(self) -> None:
        """The destination is told to run it, until it answers."""
        if self._asking is None or self._asking.done():
            self._asking = asyncio.create_task(self._until_answered(), name=f"go {self._order.vm}")

    async def _ask_again(self) -> None:
        """As `_ask`; what is under way does not say that the source's QEMU is dead."""
        if self._asking and self._asking is not asyncio.current_task():
            self._asking.cancel()
            self._asking = None
        await self._ask()

    async def _until_answered(self) -> None:
        """Whatever goes wrong with asking: nobody takes the VM back because of it."""
        while True:
            try:
                await self._answered(await self._peer.go(self._go()))
                if self._vm.owner.state not in ASKING:
                    return
            except GodwitError as error:
                log.warning("asking %s's destination again: %s", self._order.vm, error)
            await asyncio.sleep(self._vm.waits.ask_again_s)

    def _go(self) -> Go:
        return Go(**self._order.model_dump(), count=1, last=self._vm.owner.state == Ownership.last)

    async def _answered(self, answer: GoAnswer) -> None:
        self._answer = answer
        await self.course.take(ANSWERS.get(answer.verdict, Cue.answered_lost))
        if self._vm.owner.state == Ownership.done:
            self._settle(answer)

    async def _given_away(self) -> None:
        """The journal says DONE: the destination runs the VM. QEMU ends when the story says `retire`."""
        self._dismiss_watchdog()

    async def _take_back(self) -> None:
        try:
            await self._vm.machine.cont()
        except Unreachable:
            raise
        except Failed as error:
            self._refusal = error.message
            self.course.soon(self.course.take(Cue.refused))

    async def _alarm(self) -> None:
        await raise_alarm(self._vm, self._refusal or "it gave no reason")

    async def _tell_abort(self) -> None:
        """The VM runs here, or is lost."""
        self._dismiss_watchdog()
        self._vm.alarm = ""
        self.course.soon(self._aborted(was_lost=self._vm.owner.state == Ownership.lost))

    async def _aborted(self, *, was_lost: bool) -> None:
        """Telling the destination is a courtesy: the manager's undo tells it too."""
        why = await self._reason()
        try:
            async with asyncio.timeout(ABORT_S):
                await self._peer.abort(self._order)
        except (GodwitError, TimeoutError) as error:
            log.warning("could not tell the destination of %s: %s", self._order.vm, error)
        if not was_lost:
            self._settle(self.why_broken or Failed(self._why(why), "stream-broke"))

    async def _reason(self) -> str:
        told: str | None = self._answer.reason if self._answer else None
        with suppress(GodwitError):
            told = told or (await memory.sample(self._vm.machine.monitor)).error
        return self._refusal or told or "the stream was broken off"

    def _why(self, reason: str) -> str:
        return f"{self._order.vm} was not moved and runs on where it was: {reason}"

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

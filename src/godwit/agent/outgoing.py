"""A VM on its way out: what the manager's verbs for a source do."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator
from typing import Any

from godwit.agent.belongings import Packing
from godwit.agent.blackout import Blackout
from godwit.agent.course import Course
from godwit.agent.governor import Governor
from godwit.agent.local import AT_HOME, LocalVm
from godwit.agent.observing import AFTER_MS, BEFORE_MS, Window
from godwit.agent.telling import Telling
from godwit.contract.host import (
    GoAnswer,
    HandedOver,
    Meet,
    OutgoingReady,
    Peer,
    PrepareOutgoing,
)
from godwit.core.errors import Failed, GodwitError, Refused, Unreachable, Unresolved
from godwit.core.migration import Event
from godwit.core.ownership import Ownership
from godwit.core.report import TimelineEntry
from godwit.qemu import memory, mirror, secrecy
from godwit.qemu.monitor import QmpEvent

BREAK_AGAIN_S = 1.0
MEETINGS = 8
"""Round trips to compare clocks; the shortest counts (Cristian's algorithm)."""
VAGUE_MS = 1.0
"""An error of that comparison that is worth another one."""


class Outgoing:
    """One attempt to send one VM away."""

    def __init__(self, vm: LocalVm, request: PrepareOutgoing, peer: Peer) -> None:
        self.order = request.order()
        self._vm = vm
        self._request = request
        self._peer = peer
        self._telling = Telling(request.migration)
        self._governor = Governor(vm, self._telling, request)
        self.belongings = Packing(vm, self.order, peer)
        may_last_s = request.max_blackout_ms / 1000
        self._blackout = Blackout(vm, self.order, peer, self._telling, uri=request.uri, may_last_s=may_last_s)
        self._blackout.heard = self._heed
        self._ready: OutgoingReady | None = None
        self._began_ms: float | None = None
        self._tasks: list[asyncio.Task[None]] = []

    @property
    def course(self) -> Course:
        """Its way through the table."""
        return self._blackout.course

    @property
    def has_stopped(self) -> bool:
        """The VM's vCPUs stopped here."""
        return self._blackout.stopped_at_ms is not None

    def window(self) -> Window | None:
        """Which headers tell of the switch-over; none as long as the VM runs here."""
        stop_ms = self._blackout.stopped_at_ms
        if stop_ms is None or self._ready is None:
            return None
        return Window(stop_ms - BEFORE_MS, stop_ms + AFTER_MS + 1000, self._ready.clock_offset_ms)

    async def prepare(self) -> OutgoingReady:
        """The peer is met and QEMU is set; the VM runs undisturbed."""
        if self._ready is None:
            self._ready = await self._meet(waiting=True)
            await memory.prepare_sender(
                self._vm.machine.monitor,
                multifd=self._request.multifd,
                compression=self._request.compression,
                bandwidth_bytes_per_s=self._request.bandwidth_bytes_per_s,
                ready_to_throttle=self._request.deadline_s is not None,
            )
            await memory.allow_switch(self._vm.machine.monitor, self._governor.hold_ms)
            await self._keep_secret()
            if self._request.disks:
                await memory.pause_before_switch(self._vm.machine.monitor)
        return self._ready

    async def _keep_secret(self) -> None:
        """The stream is encrypted with the destination's key, if the plan says so."""
        machine = self._vm.machine
        if not self._request.tls:
            await secrecy.use_none(machine.monitor)
            return
        met = await self._peer.meet(Meet(order=self.order, wants_key=True))
        at = secrecy.place_of(machine.run_dir, "client", self.order.migration, self.order.attempt)
        await secrecy.use_key(machine.monitor, at, met.key, endpoint="client")
        secrecy.forget_key(at)

    async def resume(self) -> None:
        """After the agent's own restart: whatever the journal says was begun goes on."""
        if self._vm.owner.is_about(self.order) and self._vm.owner.state not in AT_HOME:
            with contextlib.suppress(GodwitError):
                self._began_ms = (await self._vm.machine.history()).began_at_ms()
            await self._begin()

    async def copy(self) -> AsyncIterator[Event]:
        """Starts the copying, once; tells of it until the switch-over may come."""
        await self._begin()
        async for event in self._telling.follow():
            yield event

    async def hand_over(self) -> HandedOver:
        """The switch-over is allowed, and over."""
        await self._begin()
        if self._request.disks and not self.has_stopped:
            await mirror.flush(self._vm.machine.monitor)
        if not self.has_stopped:
            await self.belongings.send()
        await self._allow()
        answer = await asyncio.shield(self._blackout.result)
        self.belongings.send_last()
        return await self._handed_over(answer)

    async def abort(self) -> None:
        """The VM runs here as before; `Unresolved` if it is given away, or may be."""
        while self._tasks and not self._blackout.result.done():
            await self._break_off()
        if self._vm.owner.state not in AT_HOME | {Ownership.died}:
            raise Unresolved(f"{self.order.vm} was given to {self._request.destination} and cannot be taken back")
        await self.close()
        await self.belongings.undo()

    async def _break_off(self) -> None:
        """The stream is broken, or a while has gone by."""
        if self._vm.owner.state == Ownership.offer:
            with contextlib.suppress(Failed):  # there is no stream yet, or none any more
                await memory.break_off(self._vm.machine.monitor)
        await asyncio.wait([self._blackout.result], timeout=BREAK_AGAIN_S)

    async def close(self) -> None:
        """Nothing of this attempt runs on; QEMU and journal stay as they are."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._blackout.close()

    async def _begin(self) -> None:
        """Begins once, whoever asks first; returns when QEMU's events are heard."""
        if not self._tasks:
            if self._vm.owner.state in AT_HOME:
                self._began_ms = time.time() * 1000
            works = (self._run(), self._govern(), self.belongings.send())
            self._tasks = [asyncio.create_task(each) for each in works]
        begun = asyncio.create_task(self._blackout.course.begun.wait())
        waited: set[asyncio.Future[Any]] = {begun, self._tasks[0], self._blackout.result}
        await asyncio.wait(waited, return_when=asyncio.FIRST_COMPLETED)
        begun.cancel()

    async def _run(self) -> None:
        try:
            if self._vm.owner.state in AT_HOME:
                await self._offer()
            else:
                await self._blackout.run()
        except GodwitError as error:  # nothing was offered
            self._blackout.give_up(error)

    async def _offer(self) -> None:
        """The stream begins when its events are heard already."""
        running = asyncio.create_task(self._blackout.run())
        try:
            await self._blackout.course.begun.wait()
            await self._blackout.offer(self._request.destination)
            await running
        finally:
            running.cancel()

    def _heed(self, event: QmpEvent) -> None:
        if event.name == "MIGRATION_PASS":
            self._governor.pass_ended(event.data["pass"] - 1, event.at_ms)
        if event.name == "STOP":
            self._governor.stop()
            self._telling.finish()

    @property
    def _is_governed(self) -> bool:
        return not (self.has_stopped or self._blackout.result.done() or self._vm.machine.gone.is_set())

    async def _govern(self) -> None:
        """Until the VM stops. What goes wrong ends the copying, and the move, if that was said to be ready already."""
        while self._is_governed:
            try:
                await self._governor.run()
            except Unreachable:
                await self._vm.found_again()
            except Failed as error:
                while self._telling.is_finished and self._is_governed:
                    self._blackout.why_broken = error
                    await self._break_off()
                self._telling.finish(error)
                return

    async def _allow(self) -> None:
        if not self.has_stopped and not self._blackout.result.done():
            await self._governor.allow()

    async def _meet(self, *, waiting: bool) -> OutgoingReady:
        """Compares clocks; `Refused` if the destination shall be waiting for the VM and does not."""
        best = OutgoingReady(clock_offset_ms=0, clock_error_ms=float("inf"))
        for _ in range(MEETINGS):
            asked = time.time() * 1000
            met = await self._peer.meet(Meet(order=self.order))
            answered = time.time() * 1000
            if waiting and not met.ready:
                raise Refused(
                    f"{self._request.destination} does not wait for {self.order.vm}: start the migration again"
                )
            error = (answered - asked) / 2
            if error < best.clock_error_ms:
                best = OutgoingReady(clock_offset_ms=met.unix_ms - (asked + answered) / 2, clock_error_ms=error)
        return best

    async def _compared(self) -> OutgoingReady:
        """The clocks, compared once more if that was done while a host was too busy to answer at once."""
        before = self._ready
        if before and before.clock_error_ms <= VAGUE_MS:
            return before
        try:
            after = await self._meet(waiting=False)
        except Failed:
            if before is None:
                raise
            return before
        if before is None or after.clock_error_ms < before.clock_error_ms:
            self._ready = after
        return self._ready or after

    async def _handed_over(self, answer: GoAnswer) -> HandedOver:
        stop_ms, ready = self._blackout.stopped_at_ms, await self._compared()
        if stop_ms is None or answer.resumed_at_unix_ms is None:
            raise Unresolved(
                f"{self.order.vm} went to {self._request.destination}; when it stopped and ran again is not known"
            )
        resumed_ms = answer.resumed_at_unix_ms - ready.clock_offset_ms
        theirs = [
            TimelineEntry(at_ms=e.at_ms - ready.clock_offset_ms - stop_ms, event=e.event) for e in answer.timeline
        ]
        ours = [TimelineEntry(at_ms=e.at_ms - stop_ms, event=e.event) for e in self._blackout.timeline]
        return HandedOver(
            stopped_at_ms=stop_ms,
            resumed_at_ms=resumed_ms,
            blackout_ms=round(resumed_ms - stop_ms, 3),
            clock_error_ms=round(ready.clock_error_ms, 3),
            predicted_blackout_ms=self._governor.predicted_ms,
            rest_ms=self._governor.rest_ms,
            compression=self._request.compression,
            copying_ms=max(0.0, stop_ms - self._began_ms) if self._began_ms else 0.0,
            transferred_bytes=await self._transferred_bytes(),
            passes=self._governor.passes,
            timeline=tuple(sorted(ours + theirs, key=lambda entry: entry.at_ms)),
        )

    async def _transferred_bytes(self) -> int:
        """0 when its QEMU died meanwhile: the figure is not worth an error."""
        try:
            return (await memory.sample(self._vm.machine.monitor)).transferred_bytes
        except (Failed, Unreachable):
            return 0

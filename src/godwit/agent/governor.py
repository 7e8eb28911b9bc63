"""Steers the copying: samples QEMU, asks core/convergence what to do, and does it."""

from __future__ import annotations

import asyncio
from time import monotonic, time

from godwit.agent.local import LocalVm
from godwit.agent.telling import Telling
from godwit.agent.vcpus import Vcpus
from godwit.contract.host import PrepareOutgoing
from godwit.core.convergence import (
    WIDEN_PASSES,
    WIDEN_S,
    Action,
    Decision,
    Goals,
    Sample,
    decide,
    limit_ms,
    overdue,
    predicted_ms,
)
from godwit.core.errors import Failed
from godwit.core.forecast import time_left_s
from godwit.core.migration import EventKind, Progress
from godwit.core.report import PassReport
from godwit.qemu import memory, sockets

TICK_S = 0.25
"""Between two looks at a pass that goes on; QEMU's own figures are no fresher than 0.1 s."""
SILENCE_S = 10.0
"""A stream that takes nothing for so long is broken, whatever TCP still hopes for (by default a quarter of an hour)."""


class Governor:
    """Holds the switch-over back until it is short enough and allowed; slows the guest down if that never comes."""

    def __init__(self, vm: LocalVm, telling: Telling, request: PrepareOutgoing) -> None:
        self._vm = vm
        self._request = request
        self._telling = telling
        self._goals = Goals(request.max_blackout_ms, request.deadline_s, request.fixed_ms)
        self._passes: asyncio.Queue[tuple[int, float]] = asyncio.Queue()
        self._samples: list[Sample] = []
        self._decided: Decision | None = None
        self._opened_ms = limit_ms(0, self._goals)
        self._opened_at_s: float | None = None
        self._opened_after = 0
        self._allowed = False
        self._over = False
        self._sent_bytes = 0
        self._sent_at_s = 0.0
        self._started_s = 0.0
        self._vcpus = Vcpus(vm)
        self._vcpu_share = 1.0

    @property
    def hold_ms(self) -> int:
        """QEMU's downtime limit until the switch-over may come."""
        return limit_ms(0, self._goals)

    @property
    def rest_ms(self) -> float:
        """Of the blackout, what the bytes that remained were predicted to take when QEMU switched over, at most."""
        last = self._samples[-1] if self._samples else None
        rest = predicted_ms(last, 0.0) if last else 0.0
        return min(rest, float(self._opened_ms))

    @property
    def predicted_ms(self) -> float:
        """The blackout predicted when the switch-over was decided, or last."""
        return self._goals.fixed_ms + self.rest_ms

    @property
    def passes(self) -> tuple[PassReport, ...]:
        """For the report."""
        return tuple(
            PassReport(
                number=each.pass_number,
                remaining_bytes=each.remaining_bytes,
                dirty_rate=each.dirty_bytes_per_s,
                bandwidth=each.bandwidth_bytes_per_s,
                throttle_percent=each.throttle_percent,
                at_ms=round(1000 * each.elapsed_s, 1),
            )
            for each in self._samples
        )

    def pass_ended(self, number: int, at_ms: float) -> None:
        """QEMU has begun pass `number + 1`, at that Unix time."""
        self._passes.put_nowait((number, at_ms))

    async def allow(self) -> None:
        """The switch-over may happen from now on."""
        self._allowed = True
        await self._open()

    def stop(self) -> None:
        """The vCPUs have stopped: QEMU is asked nothing more."""
        self._over = True

    async def run(self) -> None:
        """Samples until stopped; `Failed` when the goal cannot be met."""
        self._sent_at_s = monotonic()
        self._started_s = self._started_s or self._sent_at_s  # a keeper that was lost meanwhile gives it no more time
        await self._vcpus.begin()
        short = 0
        while not self._over:
            ended = await self._next_pass()
            if self._over:
                break
            if short < self._connections:
                short = await self._keep_short()
            sample = await memory.sample(self._vm.machine.monitor)
            self._vcpu_share = self._vcpus.share() or self._vcpu_share
            self._tell_progress(sample)
            self._check_time(sample)
            if ended is not None and ended[0] > 0:
                await self._pass_ended(*ended, sample)
            await self._widen()

    @property
    def _connections(self) -> int:
        """Of the stream: QEMU makes those for pages after the first, and later still where they are encrypted."""
        return 1 + (memory.MULTIFD_CHANNELS if self._request.multifd else 0)

    async def _keep_short(self) -> int:
        size = self._request.buffer_bytes if self._request.near else None
        return await sockets.keep_short(self._vm.machine.qemu_pid, self._request.uri, buffer_bytes=size)

    async def _next_pass(self) -> tuple[int, float] | None:
        """The pass that ended last, and when, or None when only time went by."""
        try:
            async with asyncio.timeout(TICK_S):
                ended = await self._passes.get()
        except TimeoutError:
            return None
        while not self._passes.empty():
            ended = self._passes.get_nowait()
        return ended

    def _check_time(self, sample: memory.MemorySample) -> None:
        now = monotonic()
        if sample.transferred_bytes != self._sent_bytes:
            self._sent_bytes, self._sent_at_s = sample.transferred_bytes, now
        elif now - self._sent_at_s > SILENCE_S:
            raise Failed(
                f"{self._vm.name} was not moved and runs on where it was: the stream took nothing for "
                f"{SILENCE_S:.0f} s; look after the migration network, then move it again",
                "stream-stalled",
            )
        going_on = self._sample(self._samples[-1].pass_number + 1 if self._samples else 1, sample)
        if why := overdue(going_on, self._goals, is_ready=self._decided is not None):
            raise Failed(f"{self._vm.name} was not moved and runs on where it was: {why}", "deadline")

    def _sample(self, number: int, now: memory.MemorySample) -> Sample:
        return Sample(
            number,
            now.remaining_bytes,
            self._bytes_per_s(now),
            now.dirty_bytes_per_s,
            monotonic() - self._started_s,
            now.throttle_percent,
            self._vcpu_share,
        )

    def _bytes_per_s(self, now: memory.MemorySample) -> int:
        """How fast the guest's memory goes away: what a compressed stream carries of it, not what the link does."""
        is_compressed = self._request.compression != memory.NO_COMPRESSION
        measured = max(now.bandwidth_bytes_per_s, now.pages_bytes_per_s if is_compressed else 0)
        return measured or int(now.transferred_bytes / max(monotonic() - self._started_s, 0.001))

    async def _pass_ended(self, number: int, at_ms: float, now: memory.MemorySample) -> None:
        sample, late_s = self._sample(number, now), time() - at_ms / 1000
        self._samples.append(sample._replace(elapsed_s=max(0.0, sample.elapsed_s - late_s)))
        decision = decide(self._samples, self._goals)
        self._telling.tell(
            EventKind.pass_completed,
            f"pass {number} ended, {now.remaining_bytes / 2**20:.1f} MiB remain: {decision.reason}",
            action=decision.action,
            predicted_ms=round(decision.predicted_ms, 1),
        )
        if decision.action is Action.give_up:
            raise Failed(
                f"{self._vm.name} was not moved and runs on where it was: {decision.reason}", "does-not-converge"
            )
        if decision.action in {Action.throttle, Action.relax}:
            self._telling.tell(EventKind.decided, decision.reason, action=decision.action)
            monitor, percent = self._vm.machine.monitor, decision.throttle_percent
            await memory.throttle(monitor, percent, trigger=decision.trigger_percent)
        if decision.action is Action.switch:
            await self._switch(decision)

    async def _switch(self, decision: Decision) -> None:
        first, self._decided = self._decided is None, decision
        if first:
            self._telling.tell(EventKind.decided, f"ready to switch over: {decision.reason}", action=decision.action)
            self._telling.finish()
        await self._open()

    async def _open(self) -> None:
        if self._allowed and self._decided and not self._over:
            await self._limit(max(self._opened_ms, self._decided.downtime_ms))

    async def _widen(self) -> None:
        """What was opened and not taken by whole passes is opened twice as wide, as far as the goal allows.

        So far at once when the deadline for the copying has come.
        """
        if self._opened_at_s is None or self._over:
            return
        deadline_s = self._goals.deadline_s
        if deadline_s is not None and monotonic() - self._started_s >= deadline_s:
            await self._limit(limit_ms(self._goals.max_blackout_ms, self._goals))
        if monotonic() - self._opened_at_s < WIDEN_S:
            return
        if len(self._samples) >= self._opened_after + WIDEN_PASSES:
            await self._limit(limit_ms(2 * self._opened_ms, self._goals))

    async def _limit(self, limit: int) -> None:
        if limit != self._opened_ms or self._opened_at_s is None:
            self._opened_ms, self._opened_at_s, self._opened_after = limit, monotonic(), len(self._samples)
            await memory.allow_switch(self._vm.machine.monitor, limit)

    def _tell_progress(self, sample: memory.MemorySample) -> None:
        bandwidth = self._bytes_per_s(sample)
        progress = Progress(
            pass_number=sample.pass_number,
            transferred_bytes=sample.transferred_bytes,
            remaining_bytes=sample.remaining_bytes,
            total_bytes=sample.total_bytes,
            bandwidth_bytes_per_s=bandwidth,
            dirty_bytes_per_s=sample.dirty_bytes_per_s,
            predicted_blackout_ms=self.predicted_ms if self._samples else None,
            time_left_s=time_left_s(self._sample(sample.pass_number, sample), self._goals, sample.total_bytes),
            throttle_percent=sample.throttle_percent,
        )
        left = sample.remaining_bytes / 2**20
        text = f"pass {sample.pass_number}, {left:.0f} MiB remain, {bandwidth / 2**20:.0f} MiB/s"
        self._telling.tell(EventKind.progressed, text, progress=progress)

"""Steers the copying: samples QEMU, asks core/convergence what to do, and does it."""

from __future__ import annotations

import asyncio
from time import monotonic

from godwit.agent.local import LocalVm
from godwit.agent.telling import Telling
from godwit.core.convergence import Action, Decision, Sample, decide, predicted_ms
from godwit.core.errors import Failed
from godwit.core.migration import EventKind, Progress
from godwit.core.report import PassReport
from godwit.qemu import memory, sockets

TICK_S = 0.25
"""Between two looks at a pass that goes on; QEMU's own figures are no fresher than 0.1 s."""
SILENCE_S = 10.0
"""A stream that takes nothing for so long is broken, whatever TCP still hopes for (by default a quarter of an hour)."""


class Governor:
    """Holds the switch-over back until it is short enough and allowed."""

    def __init__(self, vm: LocalVm, telling: Telling, *, uri: str, max_blackout_ms: int) -> None:
        self._vm = vm
        self._uri = uri
        self._telling = telling
        self._max_blackout_ms = max_blackout_ms
        self._passes: asyncio.Queue[int] = asyncio.Queue()
        self._samples: list[Sample] = []
        self._decided: Decision | None = None
        self._allowed = False
        self._over = False
        self._sent_bytes = 0
        self._sent_at_s = 0.0

    @property
    def predicted_ms(self) -> float | None:
        """The blackout predicted when the switch-over was decided, or last."""
        last = predicted_ms(self._samples[-1]) if self._samples else None
        return self._decided.predicted_ms if self._decided else last

    @property
    def passes(self) -> tuple[PassReport, ...]:
        """For the report."""
        return tuple(
            PassReport(
                number=each.pass_number,
                remaining_bytes=each.remaining_bytes,
                dirty_rate=each.dirty_bytes_per_s,
                bandwidth=each.bandwidth_bytes_per_s,
            )
            for each in self._samples
        )

    def pass_ended(self, number: int) -> None:
        """QEMU has begun pass `number + 1`."""
        self._passes.put_nowait(number)

    async def allow(self) -> None:
        """The switch-over may happen from now on."""
        self._allowed = True
        await self._open()

    def stop(self) -> None:
        """The vCPUs have stopped: QEMU is asked nothing more."""
        self._over = True

    async def run(self) -> None:
        """Samples until stopped; `Failed` when the goal cannot be met."""
        started = self._sent_at_s = monotonic()
        short = 0
        while not self._over:
            number = await self._next_pass()
            if self._over:
                break
            short = short or await sockets.keep_short(self._vm.machine.qemu_pid, self._uri)
            sample = await memory.sample(self._vm.machine.monitor)
            self._tell_progress(sample, monotonic() - started)
            self._check_silence(sample)
            if number is not None and number > 0:
                await self._pass_ended(number, sample)

    async def _next_pass(self) -> int | None:
        """The pass that just ended, or None when only time went by."""
        try:
            async with asyncio.timeout(TICK_S):
                return await self._passes.get()
        except TimeoutError:
            return None

    def _check_silence(self, sample: memory.MemorySample) -> None:
        if sample.transferred_bytes != self._sent_bytes:
            self._sent_bytes, self._sent_at_s = sample.transferred_bytes, monotonic()
        elif monotonic() - self._sent_at_s > SILENCE_S:
            raise Failed(
                f"{self._vm.name} was not moved and runs on where it was: the stream took nothing for "
                f"{SILENCE_S:.0f} s; look after the migration network, then move it again",
                "stream-stalled",
            )

    async def _pass_ended(self, number: int, sample: memory.MemorySample) -> None:
        self._samples.append(
            Sample(number, sample.remaining_bytes, sample.bandwidth_bytes_per_s, sample.dirty_bytes_per_s)
        )
        self._telling.tell(
            EventKind.pass_completed, f"pass {number} ended, {sample.remaining_bytes / 2**20:.1f} MiB remain"
        )
        decision = decide(self._samples, max_blackout_ms=self._max_blackout_ms)
        if decision.action == Action.give_up:
            raise Failed(decision.reason, "does-not-converge")
        if decision.action == Action.switch:
            await self._switch(decision)

    async def _switch(self, decision: Decision) -> None:
        first, self._decided = self._decided is None, decision
        if first:
            self._telling.tell(EventKind.decided, f"ready to switch over: {decision.reason}")
            self._telling.finish()
        await self._open()

    async def _open(self) -> None:
        if self._allowed and self._decided:
            await memory.allow_switch(self._vm.machine.monitor, self._decided.downtime_ms)

    def _tell_progress(self, sample: memory.MemorySample, elapsed_s: float) -> None:
        bandwidth = sample.bandwidth_bytes_per_s or int(sample.transferred_bytes / max(elapsed_s, 0.001))
        progress = Progress(
            pass_number=sample.pass_number,
            transferred_bytes=sample.transferred_bytes,
            remaining_bytes=sample.remaining_bytes,
            total_bytes=sample.total_bytes,
            bandwidth_bytes_per_s=bandwidth,
            dirty_bytes_per_s=sample.dirty_bytes_per_s,
            predicted_blackout_ms=self.predicted_ms,
            time_left_s=sample.remaining_bytes / bandwidth if bandwidth else None,
        )
        left = sample.remaining_bytes / 2**20
        text = f"pass {sample.pass_number}, {left:.0f} MiB remain, {bandwidth / 2**20:.0f} MiB/s"
        self._telling.tell(EventKind.progressed, text, progress=progress)

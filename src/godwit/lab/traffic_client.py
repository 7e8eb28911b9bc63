"""What all traffic clients have in common: one connection, never a second one, and a tally of its progress."""

from __future__ import annotations

import asyncio
import contextlib
import time
from abc import ABC, abstractmethod
from typing import ClassVar

from godwit.core.errors import TimedOut
from godwit.lab.traffic_result import ClientSummary, Samples, TcpCounters
from godwit.lab.traffic_tally import Tally
from godwit.lab.traffic_tcp import Options, congestion_control_of, counters_of

_UNIX_S = time.time() - time.monotonic()
RETRY_S = 0.1


def now_ms() -> float:
    """Unix time in milliseconds that never jumps: the wall clock was read once, when this program started."""
    return (time.monotonic() + _UNIX_S) * 1000.0


class Client(ABC):
    """One connection to one service. Before its first answer it may try again; afterwards a break is final."""

    kind: ClassVar[str]

    def __init__(self) -> None:
        self.tally = Tally(now_ms())
        self.answered = asyncio.Event()
        """Set at each sign of progress; whoever waits for the next one clears it."""
        self.survived = True
        self.verified = True
        self.error: str | None = None
        self.congestion_control = ""
        self.last_record = 0
        self._counters = TcpCounters()
        self._closing = False
        self._ready = False
        self._broken = asyncio.Event()
        self._last_words = ""

    @abstractmethod
    async def attempt(self) -> None:
        """A connection is open and the first request is on its way; otherwise `OSError`."""

    @abstractmethod
    def connection(self) -> Options | None:
        """The connection's socket, to ask its kernel; none when there is none."""

    @abstractmethod
    def disconnect(self) -> None:
        """Nothing is open any more. Harmless when repeated."""

    async def start(self, deadline_s: float) -> None:
        """The service answered on the connection that is kept from now on; `TimedOut` after that many seconds."""
        reason = "it does not answer"
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(deadline_s):
                while True:
                    try:
                        await self._first_answer()
                        return
                    except OSError as error:
                        reason = str(error) or reason
                        self.disconnect()
                        await asyncio.sleep(RETRY_S)
        raise TimedOut(f"{self.kind}: no answer within {deadline_s:g} s ({reason}); is the service up in the guest?")

    def begin(self) -> None:
        """Measuring begins now."""
        self.tally.restart(now_ms(), self.counters())

    def counters(self) -> TcpCounters:
        """The kernel's counters now, or the last ones that could be read."""
        with contextlib.suppress(OSError):
            if (connection := self.connection()) is not None:
                self._counters = counters_of(connection)
                self.congestion_control = congestion_control_of(connection)
        return self._counters

    def progressed(self, *, latency_ms: float, operations: int, size_bytes: int) -> None:
        """Something arrived."""
        self.tally.progressed(now_ms(), latency_ms=latency_ms, operations=operations, size_bytes=size_bytes)
        self.answered.set()

    def broke(self, reason: str) -> None:
        """The connection is gone; before the first answer that only means to try again."""
        if self._ready and not self._closing:
            self.survived = False
            self.error = self.error or reason
        self._last_words = reason
        self._broken.set()

    def was_wrong(self, reason: str) -> None:
        """An answer was not the right one; the first reason is kept."""
        self.verified = False
        self.error = self.error or reason

    async def finish(self, grace_s: float) -> None:
        """The last window is closed and the connection with it; one that no longer answers did not survive."""
        self.answered.clear()
        if self.survived:
            await self._answered_or_broken(grace_s)
        if self.survived and not self.answered.is_set():
            self.broke(f"no answer in the last {grace_s:g} s")
        self.tally.close(now_ms(), self.counters())
        self._closing = True
        self.disconnect()

    def summary(self) -> ClientSummary:
        """What this client saw; only after `finish`."""
        windows = self.tally.windows
        worst = max(windows, key=lambda each: each.stall_ms)
        return ClientSummary(
            name=self.kind,
            kind=self.kind,
            stall_ms=worst.stall_ms,
            stall_at_ms=worst.stall_at_ms,
            operations=sum(each.operations for each in windows),
            bytes=sum(each.bytes for each in windows),
            retransmissions=sum(each.retransmissions for each in windows),
            spurious_retransmissions=sum(each.spurious_retransmissions for each in windows),
            survived=self.survived,
            verified=self.verified,
            error=self.error,
            congestion_control=self.congestion_control,
            windows=tuple(windows),
            last_record=self.last_record,
        )

    def samples(self) -> Samples:
        """Its answers over time."""
        return Samples(client=self.kind, points=tuple((round(at, 1), round(ms, 3)) for at, ms in self.tally.points))

    async def _first_answer(self) -> None:
        self._broken.clear()
        self.answered.clear()
        await self.attempt()
        await self._answered_or_broken(None)
        if self._broken.is_set():
            raise ConnectionError(self._last_words)
        self._ready = True

    async def _answered_or_broken(self, timeout_s: float | None) -> None:
        waits = [asyncio.ensure_future(each.wait()) for each in (self.answered, self._broken)]
        try:
            await asyncio.wait(waits, timeout=timeout_s, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for each in waits:
                each.cancel()

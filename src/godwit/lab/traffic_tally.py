"""Silence, measured: told when a client made progress, it knows the longest time without any, window by window."""

from __future__ import annotations

from godwit.lab.traffic_result import TcpCounters, WindowSummary

BASELINE = "baseline"
"""The name of the first window, before any mark."""

SAMPLE_EVERY_MS = 10.0
"""Of all answers in such a stretch only the slowest is kept: a minute costs 6000 points."""


class Tally:
    """The progress of one client. All times are Unix time in milliseconds, told by the caller, never decreasing."""

    def __init__(self, at_ms: float) -> None:
        self.windows: list[WindowSummary] = []
        self.points: list[tuple[float, float]] = []
        self._last_ms = at_ms
        self._bucket = -1
        self._open(at_ms, BASELINE, TcpCounters())

    def progressed(self, at_ms: float, *, latency_ms: float, operations: int, size_bytes: int) -> None:
        """The client got an answer, or a part of one (`operations` 0)."""
        self._silent_until(at_ms)
        self._last_ms = at_ms
        self._operations += operations
        self._bytes += size_bytes
        if operations:
            self._sample(at_ms, latency_ms)

    def restart(self, at_ms: float, counters: TcpCounters) -> None:
        """All that was told so far is forgotten: measuring begins now."""
        self.points.clear()
        self._bucket = -1
        self._last_ms = at_ms
        self._open(at_ms, BASELINE, counters)

    def mark(self, name: str, at_ms: float, counters: TcpCounters) -> None:
        """The window that was open is closed, and one of that name is open."""
        self.close(at_ms, counters)
        self._open(at_ms, name, counters)

    def close(self, at_ms: float, counters: TcpCounters) -> None:
        """The open window is kept in `windows`; a silence that still lasts counts up to now."""
        self._silent_until(at_ms)
        self.windows.append(
            WindowSummary(
                name=self._name,
                started_at_ms=self._started_at_ms,
                ended_at_ms=at_ms,
                stall_ms=self._stall_ms,
                stall_at_ms=self._stall_at_ms,
                operations=self._operations,
                bytes=self._bytes,
                **counters.since(self._counters).model_dump(),
            )
        )

    def _open(self, at_ms: float, name: str, counters: TcpCounters) -> None:
        self._name, self._started_at_ms, self._counters = name, at_ms, counters
        self._operations = self._bytes = 0
        self._stall_ms, self._stall_at_ms = 0.0, at_ms

    def _silent_until(self, at_ms: float) -> None:
        silence_ms = at_ms - self._last_ms
        if silence_ms > self._stall_ms:
            self._stall_ms, self._stall_at_ms = silence_ms, self._last_ms

    def _sample(self, at_ms: float, latency_ms: float) -> None:
        bucket = int(at_ms // SAMPLE_EVERY_MS)
        if bucket != self._bucket:
            self._bucket = bucket
            self.points.append((at_ms, latency_ms))
        elif latency_ms > self.points[-1][1]:
            self.points[-1] = (at_ms, latency_ms)

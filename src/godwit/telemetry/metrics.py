"""The manager's numbers for Prometheus, made from the same events as log and feed."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from godwit.contract.store import MigrationRecord
from godwit.core.migration import Event, EventKind
from godwit.core.report import Forecast

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"

BLACKOUT_BUCKETS_MS = (5, 10, 20, 30, 50, 75, 100, 150, 200, 300, 500, 1000, 3000, 10_000)
ERROR_BUCKETS_PERCENT = (1, 2, 5, 10, 15, 20, 30, 50, 100, 200)
TOTAL_BUCKETS_MS = (500, 1000, 2000, 5000, 10_000, 30_000, 60_000, 300_000, 900_000, 3_600_000)


class Metrics:
    """Counts what `observe` is told; starts from zero with each process, as Prometheus expects."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        self._under_way: set[str] = set()
        registry = self._registry
        self._ended = Counter("godwit_migrations", "Migrations that have ended.", ["outcome"], registry=registry)
        self._running = Gauge("godwit_migrations_running", "Migrations that have not ended.", registry=registry)
        self._blackout = Histogram(
            "godwit_blackout_ms", "Source vCPUs stopped until destination vCPUs run.", buckets=BLACKOUT_BUCKETS_MS,
            registry=registry,
        )  # fmt: skip
        self._total = Histogram(
            "godwit_migration_total_ms", "Start to end of migrations that were done.", buckets=TOTAL_BUCKETS_MS,
            registry=registry,
        )  # fmt: skip
        self._stall = Histogram(
            "godwit_stall_ms", "The longest silence of a VM that one of its clients waited through.",
            buckets=BLACKOUT_BUCKETS_MS, registry=registry,
        )  # fmt: skip
        self._blackout_error = Histogram(
            "godwit_forecast_blackout_error_ms", "Between the blackout foretold before the start and the one it was.",
            buckets=BLACKOUT_BUCKETS_MS, registry=registry,
        )  # fmt: skip
        self._total_error = Histogram(
            "godwit_forecast_total_error_percent", "Between the time foretold before the start and what it took.",
            buckets=ERROR_BUCKETS_PERCENT, registry=registry,
        )  # fmt: skip

    def observe(self, record: MigrationRecord, event: Event) -> None:
        """An observer of the feed."""
        migration = record.migration
        if event.kind is EventKind.ended:
            self._under_way.discard(migration.id)
            self._ended.labels(migration.phase.value).inc()
            if record.handed:
                self._total.observe(event.at_ms)
                self._blackout.observe(record.handed.blackout_ms)
                self._compare(record.forecast, event.at_ms - migration.waited_ms, record.handed.blackout_ms)
        elif event.kind is EventKind.observed:
            seen = (record.settled and record.settled.connections) or ()
            if seen:
                self._stall.observe(max(each.longest_silence_ms for each in seen))
        elif event.kind is not EventKind.settled:
            self._under_way.add(migration.id)
        self._running.set(len(self._under_way))

    def _compare(self, told: Forecast | None, total_ms: float, blackout_ms: float) -> None:
        if told and told.blackout_ms is not None and told.total_ms is not None:
            self._blackout_error.observe(abs(told.blackout_ms - blackout_ms))
            self._total_error.observe(100 * abs(told.total_ms - total_ms) / max(total_ms, 1.0))

    def text(self) -> bytes:
        """All numbers in Prometheus' text format."""
        return generate_latest(self._registry)

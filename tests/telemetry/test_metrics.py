"""Numbers made from events."""

from __future__ import annotations

from datetime import UTC, datetime

from godwit.contract.host import HandedOver, Settled
from godwit.contract.store import MigrationRecord
from godwit.core.migration import Event, EventKind, Migration, MigrationRequest
from godwit.core.phase import Phase
from godwit.core.report import ConnectionReport, Forecast
from godwit.telemetry.metrics import Metrics

NOW = datetime(2026, 1, 2, tzinfo=UTC)


def tell(
    metrics: Metrics,
    id: str,
    phase: Phase,
    kind: EventKind,
    blackout_ms: float | None = None,
    settled: Settled | None = None,
) -> None:
    migration = Migration(
        id=id, vm="v", source="a", destination="b", phase=phase, request=MigrationRequest(vm="v"), started_at=NOW
    )
    handed = None
    if blackout_ms is not None:
        handed = HandedOver(
            stopped_at_ms=0,
            resumed_at_ms=blackout_ms,
            blackout_ms=blackout_ms,
            clock_error_ms=0,
            transferred_bytes=1,
        )
    event = Event(migration=id, at=NOW, at_ms=2500, kind=kind, text="")
    forecast = Forecast(total_ms=2000, blackout_ms=30) if handed else None
    metrics.observe(MigrationRecord(migration=migration, handed=handed, forecast=forecast, settled=settled), event)


def test_running_and_ended_are_counted() -> None:
    metrics = Metrics()
    for id in ("m1", "m2", "m3"):
        tell(metrics, id, Phase.checking, EventKind.phase_entered)
    tell(metrics, "m1", Phase.copying, EventKind.progressed)
    assert b"godwit_migrations_running 3.0" in metrics.text()
    tell(metrics, "m1", Phase.done, EventKind.ended, blackout_ms=34)
    tell(metrics, "m2", Phase.failed, EventKind.ended)
    text = metrics.text().decode()
    assert "godwit_migrations_running 1.0" in text
    assert 'godwit_migrations_total{outcome="done"} 1.0' in text
    assert 'godwit_migrations_total{outcome="failed"} 1.0' in text
    assert "godwit_blackout_ms_sum 34.0" in text
    assert 'godwit_blackout_ms_bucket{le="50.0"} 1.0' in text
    assert "godwit_migration_total_ms_sum 2500.0" in text
    assert "godwit_migration_total_ms_count 1.0" in text
    assert "godwit_forecast_blackout_error_ms_sum 4.0" in text
    assert "godwit_forecast_total_error_percent_sum 20.0" in text


def test_the_longest_silence_of_a_client_is_counted_once_it_is_known() -> None:
    metrics = Metrics()
    seen = [
        ConnectionReport(client="c", server="s", longest_silence_ms=ms, retransmissions=0, resets=0, survived=True)
        for ms in (12, 70)
    ]
    settled = Settled(settled=False, connections=tuple(seen))
    tell(metrics, "m1", Phase.done, EventKind.observed, settled=settled)
    tell(metrics, "m1", Phase.done, EventKind.settled, settled=settled.model_copy(update={"settled": True}))
    text = metrics.text().decode()
    assert ("godwit_stall_ms_sum 70.0" in text, "godwit_migrations_running 0.0" in text) == (True, True)

"""How far reports are off is counted over the connections that went on; resets are counted over all."""

from __future__ import annotations

from typing import Any

from benchmarks.connections import summary


def client(manner: str, reported_ms: float | None, *, is_reset: bool = False, resets: int = 0) -> dict[str, Any]:
    measured = {"program_ms": 10.0, "kernel_ms": 9.0}
    return {"manner": manner, "reported_ms": reported_ms, "is_reset": is_reset, "resets": resets, **measured}


def test_figures_of_two_migrations() -> None:
    first = [client("asking", 9.5), client("left", 99.0, is_reset=True, resets=1)]
    second = [client("asking", 12.0), client("redis", None), client("leaving", 5.0, is_reset=True)]
    runs = [{"blackout_ms": ms, "clients": clients} for ms, clients in ((20.0, first), (30.0, second))]

    found = summary(runs)

    assert (found["connections"], found["unreported"]) == (5, 1)
    assert found["off_by_ms"]["program_ms"] == {"median": 1.25, "p90": 2.0, "max": 2.0}
    assert found["worst_p90_of_one_migration_ms"]["kernel_ms"] == 3.0
    assert (found["resets"], found["resets_missed"], found["resets_made_up"]) == (2, 1, 0)

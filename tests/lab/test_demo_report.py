"""What the demo concludes from what it saw."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from godwit.core.report import PassReport, Report
from godwit.lab.demo_report import document, rows, series, shortcomings, summary
from godwit.lab.traffic_result import ClientSummary, Samples, TrafficResult, WindowSummary

START_MS = 1_790_000_000_000.0


def migration(source: str, destination: str, at_ms: float) -> Report:
    return Report(
        id=f"m-{destination}",
        vm="demo",
        source=source,
        destination=destination,
        outcome="done",
        started_at=datetime.fromtimestamp(START_MS / 1000, UTC),
        total_ms=3200.0,
        blackout_ms=38.4,
        passes=(PassReport(number=1, remaining_bytes=1, dirty_rate=1, bandwidth=1),),
        transferred_bytes=140 << 20,
        stopped_at_ms=START_MS + at_ms,
    )


MIGRATIONS = [migration("host-a", "host-b", 4000), migration("host-b", "host-a", 8000)]


def client(name: str, **changes: object) -> ClientSummary:
    windows = tuple(
        WindowSummary(name=each, started_at_ms=START_MS, ended_at_ms=START_MS + 1, stall_ms=stall, operations=10)
        for each, stall in (("baseline", 3.0), ("to host-b", 41.0), ("to host-a", 45.0))
    )
    known = ClientSummary(
        name=name,
        kind=name,
        stall_ms=45.0,
        stall_at_ms=START_MS,
        operations=30,
        bytes=960,
        survived=True,
        verified=True,
        windows=windows,
    )
    return known.model_copy(update=changes)


def result(*clients: ClientSummary) -> TrafficResult:
    points = tuple((START_MS + at, 1.0) for at in range(0, 12_000, 10))
    return TrafficResult(clients=clients, samples=tuple(Samples(client=each.name, points=points) for each in clients))


def test_all_survived_is_success() -> None:
    assert shortcomings(MIGRATIONS, result(client("redis"), client("echo"))) == []


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"survived": False, "error": "reset"}, "the connection of ssh broke: reset"),
        ({"verified": False, "error": "key 7"}, "ssh got wrong data: key 7"),
    ],
)
def test_each_failure_is_named(changes: dict[str, object], words: str) -> None:
    assert shortcomings(MIGRATIONS, result(client("echo"), client("ssh", **changes))) == [words]


def test_a_failed_migration_is_a_failure_though_everybody_survived() -> None:
    failed = MIGRATIONS[0].model_copy(update={"outcome": "failed", "error": "the link is down"})
    assert shortcomings([failed], result(client("echo"))) == ["m-host-b ended as failed: the link is down"]


def test_the_document_has_what_programs_rely_on() -> None:
    made = document(MIGRATIONS, result(client("redis")))
    assert [each["id"] for each in made["migrations"]] == ["m-host-b", "m-host-a"]
    assert made["clients"][0].items() >= {"name": "redis", "stall_ms": 45.0, "survived": True, "verified": True}.items()


def test_the_summary_fits_a_terminal_and_names_every_window() -> None:
    text = summary(MIGRATIONS, result(client("redis"), client("echo", survived=False)), width=100)
    assert all(len(line) <= 100 for line in text.splitlines())
    for words in ("host-a → host-b", "38.4 ms", "140.0 MiB", "baseline", "to host-b", "BROKE, data right", "▲"):
        assert words in text


def test_what_could_not_be_counted_is_not_called_zero() -> None:
    known, unknown = client("echo", retransmissions=7, congestion_control="reno"), client("ssh", retransmissions=7)
    lines = summary(MIGRATIONS, result(known, unknown), width=100).splitlines()
    echo, ssh = (next(line for line in lines if line.startswith(name)) for name in ("echo", "ssh"))
    assert " 7  survived" in echo
    assert " –  survived" in ssh


def test_the_page_gets_all_windows_and_all_samples() -> None:
    seen = result(client("redis"))
    assert rows(seen)[0].stalls_ms == (("baseline", 3.0), ("to host-b", 41.0), ("to host-a", 45.0))
    assert [len(each.points) for each in series(seen)] == [1200]

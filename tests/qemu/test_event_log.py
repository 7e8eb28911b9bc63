"""The event log: numbered without gaps, continued by the next keeper, bounded in memory."""

from __future__ import annotations

from pathlib import Path

from godwit.qemu.event_log import KEPT_EVENTS, EventLog


def test_events_are_numbered_from_one(tmp_path: Path) -> None:
    log = EventLog(tmp_path / "events.jsonl")
    for name in ("STOP", "RESUME"):
        log.append({"event": name})

    assert log.since(0) == [{"seq": 1, "event": "STOP"}, {"seq": 2, "event": "RESUME"}]
    assert log.since(1) == [{"seq": 2, "event": "RESUME"}]
    assert log.since(2) == []


def test_the_next_keeper_goes_on_where_a_torn_line_ended(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    EventLog(path).append({"event": "STOP"})
    with path.open("ab") as file:
        file.write(b'{"seq":2,"event":"RES')

    log = EventLog(path)
    log.append({"event": "SHUTDOWN"})

    expected = [{"seq": 1, "event": "STOP"}, {"seq": 2, "event": "SHUTDOWN"}]
    assert log.since(0) == expected
    assert EventLog(path).since(0) == expected


def test_the_oldest_are_forgotten_and_the_first_number_says_so(tmp_path: Path) -> None:
    log = EventLog(tmp_path / "events.jsonl")
    for _ in range(KEPT_EVENTS + 5):
        log.append({"event": "PASS"})

    kept = log.since(0)
    assert len(kept) == KEPT_EVENTS
    assert kept[0]["seq"] == 6

"""What an event log proves of a QEMU that is dead."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from godwit.qemu import evidence
from godwit.qemu.evidence import History
from godwit.qemu.keeper import EXITED, GAP

SETUP = "MIGRATION setup"


def log(*names: str, first: int = 1) -> list[dict[str, object]]:
    events = []
    for number, name in enumerate(names, first):
        event, _, status = name.partition(" ")
        data = {"status": status} if status else {"status": 137} if event == EXITED else {}
        stamp = {"seconds": number, "microseconds": 0}
        events.append({"seq": number, "event": event, "data": data, "timestamp": stamp})
    return events


def history(*names: str, first: int = 1, is_alive: bool = False) -> History:
    qemu = {"is_alive": is_alive, "exit_status": None}
    return evidence.told({"events": log(*names, first=first), "qemu": qemu})


@pytest.mark.parametrize(
    ("said", "resumed"),
    [
        (history(EXITED), False),
        (history("RESUME", EXITED), True),
        (history("RESUME", GAP), True),
        (history(), None),
        (history(SETUP, "STOP"), None),
        (history(SETUP, GAP, EXITED), None),
        (history(EXITED, first=10_000), None),
        (history(is_alive=True), False),
        (history(GAP, is_alive=True), None),
    ],
)
def test_only_a_whole_log_proves_that_none_ran(said: History, resumed: bool | None) -> None:
    assert said.resumed() is resumed


def test_of_a_source_only_its_last_stream_counts() -> None:
    """What ran before that is no news; a STOP after RESUME, as at a full disk, does not undo it."""
    assert history("RESUME", GAP, SETUP, "STOP", EXITED).of_last_stream().resumed() is False
    assert history(SETUP, "STOP", "RESUME", "STOP", EXITED).of_last_stream().resumed() is True
    assert history(SETUP, "STOP", SETUP, "STOP").of_last_stream().stopped_at_ms() == 4000.0


def test_a_dead_keepers_log_is_read_as_far_as_it_is_whole(tmp_path: Path) -> None:
    lines = [json.dumps(each) for each in log(SETUP, "STOP", EXITED)]
    (tmp_path / "events.jsonl").write_text("\n".join(lines) + '\n{"seq": 4, "ev')

    left = evidence.left(tmp_path)

    assert (left.is_alive, left.exit_status, left.resumed()) == (False, 137, False)
    assert evidence.left(tmp_path / "nowhere").resumed() is None

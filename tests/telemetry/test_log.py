"""The log: JSON for programs, lines for people."""

from __future__ import annotations

import io
import json
import logging
from collections.abc import Iterator
from datetime import UTC, datetime

import pytest

from godwit.contract.store import MigrationRecord
from godwit.core.errors import Invalid
from godwit.core.migration import Event, EventKind, Migration, MigrationRequest
from godwit.telemetry import log

NOW = datetime(2026, 1, 2, tzinfo=UTC)

RECORD = MigrationRecord(
    migration=Migration(
        id="m1", vm="web-1", source="a", destination="b", request=MigrationRequest(vm="web-1"), started_at=NOW
    )
)


class Screen(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture(autouse=True)
def log_as_before() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)


def event(kind: EventKind) -> Event:
    return Event(migration="m1", sequence=1, at=NOW, at_ms=12.5, kind=kind, text=f"text of {kind}")


def test_events_are_json_lines_with_their_migration() -> None:
    stream = io.StringIO()
    log.set_up(stream)
    log.log_event(RECORD, event(EventKind.warned))
    log.log_event(RECORD, event(EventKind.ended))
    log.log_event(RECORD, event(EventKind.progressed))
    logging.getLogger("other").info("alone")
    lines = [json.loads(line) for line in stream.getvalue().splitlines()]
    told = [(line["level"], line["event"], line.get("migration"), line.get("at_ms")) for line in lines]
    assert told == [
        ("warning", "text of warned", "m1", 12.5),
        ("info", "text of ended", "m1", 12.5),
        ("info", "alone", None, None),
    ]


def test_a_traceback_is_one_line_of_json() -> None:
    stream = io.StringIO()
    log.set_up(stream)
    try:
        raise ZeroDivisionError
    except ZeroDivisionError:
        logging.getLogger("x").exception("bad")
    (line,) = stream.getvalue().splitlines()
    assert "ZeroDivisionError" in json.loads(line)["exception"]


def test_on_a_terminal_lines_are_for_people() -> None:
    stream = Screen()
    log.set_up(stream)
    log.log_event(RECORD, event(EventKind.ended))
    assert "text of ended" in stream.getvalue()
    assert not stream.getvalue().startswith("{")


def test_the_level_is_chosen_by_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    stream = io.StringIO()
    monkeypatch.setenv("GODWIT_LOG", "error")
    log.set_up(stream)
    logging.getLogger("x").warning("unheard")
    assert stream.getvalue() == ""
    monkeypatch.setenv("GODWIT_LOG", "loud")
    with pytest.raises(Invalid, match="set it to one of debug, info, warning, error"):
        log.set_up(stream)


def test_modules_have_levels_of_their_own(monkeypatch: pytest.MonkeyPatch) -> None:
    stream = io.StringIO()
    monkeypatch.setenv("GODWIT_LOG", "warning, qemu=debug,uvicorn=info")
    before = {name: logging.getLogger(name).level for name in ("godwit.qemu", "uvicorn")}
    try:
        log.set_up(stream)
        for name in ("godwit.qemu.machine", "godwit.agent", "uvicorn.error"):
            logging.getLogger(name).info("said by %s", name)
    finally:
        for name, level in before.items():
            logging.getLogger(name).setLevel(level)
    told = [json.loads(line)["logger"] for line in stream.getvalue().splitlines()]
    assert told == ["godwit.qemu.machine", "uvicorn.error"]


@pytest.mark.parametrize("words", ["info,qemu", "qemu=loud", "=", "info;qemu=debug"])
def test_wrong_levels_are_told_with_right_ones(words: str) -> None:
    with pytest.raises(Invalid, match=r"is no level: set it to one of .* such as info,qemu=debug"):
        log.parse_levels(words)


def test_no_color_is_honoured(monkeypatch: pytest.MonkeyPatch) -> None:
    stream = Screen()
    monkeypatch.setenv("NO_COLOR", "1")
    log.set_up(stream)
    log.log_event(RECORD, event(EventKind.ended))
    assert "\x1b" not in stream.getvalue()

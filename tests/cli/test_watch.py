"""What is told of a migration where there is no terminal."""

from __future__ import annotations

import io
import os
import signal
import sys
import threading
from datetime import UTC, datetime
from typing import Any

import pytest

from godwit.cli import watch
from godwit.cli.watch import Interrupts, Lines, raise_outcome
from godwit.core.errors import Failed
from godwit.core.migration import Event, EventKind, Migration, MigrationRequest
from godwit.core.phase import Phase


def event(kind: EventKind, text: str, at_ms: float, phase: Phase | None = None, **data: Any) -> Event:
    return Event(migration="m1", at=datetime.now(UTC), at_ms=at_ms, kind=kind, text=text, phase=phase, data=data)


def told(*events: Event) -> list[str]:
    stream = io.StringIO()
    lines = Lines(stream)
    for each in events:
        lines.show(each)
    return [line.split("s  ", 1)[1] for line in stream.getvalue().splitlines()]


def test_of_the_copying_only_what_is_worth_knowing_is_told() -> None:
    copying = event(EventKind.phase_entered, "copying", 100, Phase.copying)
    ticks = [event(EventKind.progressed, f"pass 0, {at}", at) for at in range(200, 9000, 200)]
    first = event(EventKind.pass_completed, "pass 1 ended", 2000, predicted_ms=800)
    same = event(EventKind.pass_completed, "pass 2 ended", 3000, predicted_ms=700)
    half = event(EventKind.pass_completed, "pass 3 ended", 4000, predicted_ms=300)
    decided = event(EventKind.decided, "ready to switch over", 4001)
    assert told(copying, *ticks[:3], first, same, half, *ticks[-3:], decided) == [
        "copying",
        "pass 1 ended",
        "pass 3 ended",
        "ready to switch over",
    ]


def test_a_long_copying_tells_now_and_then_that_it_goes_on() -> None:
    ticks = [event(EventKind.progressed, f"{at}", at) for at in range(0, 35_000, 500)]
    assert told(*ticks) == ["10000", "20000", "30000"]


def test_why_it_was_not_done_is_left_to_the_last_word() -> None:
    failed = event(EventKind.ended, "refused: web-1 cannot be moved", 50, Phase.failed)
    done = event(EventKind.ended, "done", 50, Phase.done)
    assert told(failed) == ["failed"]
    assert told(done) == ["done"]


@pytest.mark.parametrize(
    ("error", "said"),
    [
        ("the link is down; mend it", "web was not moved to host-b: the link is down; mend it"),
        ("web was not moved and runs on where it was: why", "web was not moved and runs on where it was: why"),
    ],
)
def test_that_it_was_not_moved_is_said_once(error: str, said: str) -> None:
    migration = Migration(
        id="m1",
        vm="web",
        source="host-a",
        destination="host-b",
        phase=Phase.failed,
        request=MigrationRequest(vm="web"),
        started_at=datetime.now(UTC),
        error=error,
        error_kind="failed",
    )
    with pytest.raises(Failed) as caught:
        raise_outcome(migration, is_touched=True)
    assert caught.value.message == said


class Dropping:
    """What is raised while this is disposed of is dropped."""

    def __del__(self) -> None:
        os.kill(os.getpid(), signal.SIGINT)


def dispose_and_wait() -> None:
    """Of something, and for nothing."""
    Dropping()
    threading.Event().wait(120)
    raise AssertionError("it was lost")


def test_an_interrupt_that_python_drops_is_heard_all_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    dropped: list[Any] = []
    monkeypatch.setattr(sys, "unraisablehook", lambda told: dropped.append(told.exc_type))
    monkeypatch.setattr(watch, "AGAIN_S", 0.01)
    before = signal.getsignal(signal.SIGALRM)
    with Interrupts() as interrupts:
        with pytest.raises(KeyboardInterrupt), interrupts.heard():
            dispose_and_wait()
        assert dropped == [KeyboardInterrupt]
        assert signal.getsignal(signal.SIGALRM) == before
        with interrupts.heard():
            pass  # once is enough


def test_an_interrupt_that_came_before_is_heard_once() -> None:
    with Interrupts() as interrupts:
        os.kill(os.getpid(), signal.SIGINT)
        with pytest.raises(KeyboardInterrupt), interrupts.heard():
            raise AssertionError("it was lost")
        with interrupts.heard():
            pass

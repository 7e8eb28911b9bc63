"""Following a migration: a bar on a terminal, a line for each event elsewhere, and what an interrupt means."""

from __future__ import annotations

import signal
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from enum import StrEnum
from types import FrameType
from typing import TYPE_CHECKING, Any, Protocol, TextIO

from godwit.cli.show import warn
from godwit.core.errors import Cancelled, Failed, Refused, Unresolved, from_kind
from godwit.core.migration import Event, EventKind, Migration
from godwit.core.phase import Phase

if TYPE_CHECKING:
    from godwit.client.migrations import Migrations


AGAIN_S = 0.5
"""An interrupt that was dropped is raised again after so long."""
SILENT_MS = 10_000
"""A copying that goes on tells of itself that often, where there is no bar."""


class Display(Protocol):
    """Where events are shown."""

    def show(self, event: Event) -> None:
        """The person sees it."""
        ...

    def pause(self) -> None:
        """The terminal is free for other words."""
        ...

    def resume(self) -> None:
        """What was shown last is there again."""
        ...


def shown_text(event: Event) -> str:
    """Why a migration was not done is said once, at the end, and not by the event of its end too."""
    is_end_of_a_failed_one = event.kind is EventKind.ended and event.phase is not Phase.done
    return str(event.phase) if is_end_of_a_failed_one else event.text


@dataclass
class Pace:
    """How far the copying of one migration was when a line told of it last."""

    at_ms: float = 0.0
    predicted_ms: float | None = None
    """Of the last pass that was told of."""

    def is_worth_a_line(self, event: Event) -> bool:
        """All is; of the copying the first pass, those that halved the blackout, and else a line in 10 s."""
        is_pass = event.kind is EventKind.pass_completed
        predicted_ms = float(event.data.get("predicted_ms", 0)) if is_pass else 0.0
        is_step = is_pass and (self.predicted_ms is None or predicted_ms < self.predicted_ms / 2)
        is_copying = is_pass or event.kind is EventKind.progressed
        if is_copying and not is_step and event.at_ms - self.at_ms < SILENT_MS:
            return False
        self.at_ms = event.at_ms
        if is_pass:
            self.predicted_ms = predicted_ms
        return True


@dataclass
class Lines:
    """One line for each event worth one; `names` are the VMs of several migrations."""

    stream: TextIO
    names: Mapping[str, str] = field(default_factory=dict)
    _paces: dict[str, Pace] = field(default_factory=dict)

    def show(self, event: Event) -> None:
        """A line, or none."""
        if not self._paces.setdefault(event.migration, Pace()).is_worth_a_line(event):
            return
        width = max(map(len, self.names.values()), default=0)
        name = f" {self.names[event.migration]:{width}}" if width else ""
        print(f"{event.migration}{name} {event.at_ms / 1000:8.2f} s  {shown_text(event)}", file=self.stream, flush=True)

    def pause(self) -> None:
        """Lines are never in the way."""

    def resume(self) -> None:
        """Lines stay."""


class Interrupts:
    """SIGINT is heard only inside `heard`; one that came earlier is heard at its beginning. None is ever lost."""

    def __init__(self) -> None:
        self._is_pending = False
        self._is_hearing = False
        self._alarm: tuple[Any, tuple[float, float]] | None = None
        """SIGALRM's handler and timer before ours, as long as we insist."""

    def __enter__(self) -> Interrupts:
        # set even where a shell started us with SIGINT ignored, as it does in the background
        self._before = signal.signal(signal.SIGINT, self._came)
        return self

    def __exit__(self, *_: object) -> None:
        signal.signal(signal.SIGINT, self._before)

    @contextmanager
    def heard(self) -> Iterator[None]:
        """`KeyboardInterrupt` is raised where the interrupt comes."""
        self._is_hearing = True
        try:
            if self._is_pending:
                raise KeyboardInterrupt
            yield
        except KeyboardInterrupt:
            self._is_hearing = self._is_pending = False
            raise
        finally:
            self._is_hearing = False
            self._calm_down()

    def _came(self, number: int, frame: FrameType | None) -> None:
        self._is_pending = True
        if self._is_hearing:
            self._insist()
            raise KeyboardInterrupt

    def _insist(self) -> None:
        """Python drops what is raised while it disposes of an object: then it is raised again."""
        if self._alarm is None:
            before = signal.signal(signal.SIGALRM, self._has_not_gone)
            self._alarm = before, signal.setitimer(signal.ITIMER_REAL, AGAIN_S, AGAIN_S)

    def _calm_down(self) -> None:
        if self._alarm:
            (before, timer), self._alarm = self._alarm, None
            signal.setitimer(signal.ITIMER_REAL, *timer)
            signal.signal(signal.SIGALRM, before)

    def _has_not_gone(self, number: int, frame: FrameType | None) -> None:
        if self._is_hearing and self._is_pending:
            raise KeyboardInterrupt


class Answer(StrEnum):
    """What a person who interrupts wants."""

    cancel = "cancel"
    detach = "detach"
    go_on = "go-on"


class Detached(Exception):
    """The person does not wait any longer; the migration goes on."""


@dataclass
class Watch:
    """One migration being followed."""

    client: Migrations
    id: str
    display: Display
    interrupts: Interrupts
    is_terminal: bool
    last: int = 0
    is_touched: bool = False
    """It came past its checks."""
    is_cancelling: bool = False

    def to_its_end(self) -> Migration:
        """The migration when it has ended, or is in doubt; `Detached` if the person does not wait for that."""
        while True:
            try:
                with self.interrupts.heard():
                    self.display.resume()
                    self._follow()
                return self.client.migration(self.id)
            except KeyboardInterrupt:
                self._interrupted()
            finally:
                self.display.pause()

    def _follow(self) -> None:
        for event in self.client.events(self.id, after=self.last):
            self.last = event.sequence
            self.is_touched |= event.phase is Phase.reserving
            self.display.show(event)

    def _interrupted(self) -> None:
        self.display.pause()
        answer = ask(self.id, self.interrupts) if self.is_terminal else Answer.cancel
        if answer is Answer.detach:
            raise Detached(self.id)
        if answer is Answer.cancel:
            self._cancel()

    def _cancel(self) -> None:
        if self.is_cancelling and not self.is_terminal:
            raise Cancelled(f"migration {self.id} is still being undone: see `godwit migration watch {self.id}`")
        try:
            self.client.cancel(self.id)
            self.is_cancelling = True
        except Refused as error:
            if error.code != "too-late":
                return  # it has ended: the feed tells how
            warn(f"godwit: {error.message}")
            if not self.is_terminal:
                raise Detached(self.id) from error


def ask(what: str, interrupts: Interrupts) -> Answer:
    """What the person wants; a second interrupt means to leave."""
    prompt = f"\n{what}: [c]ancel, [d]etach and let it go on, or [g]o on watching? "
    answers = {"c": Answer.cancel, "d": Answer.detach, "g": Answer.go_on}
    try:
        with interrupts.heard():
            while (said := _answer(prompt)) not in answers:
                pass
    except (KeyboardInterrupt, EOFError):
        return Answer.detach
    return answers[said]


def _answer(prompt: str) -> str:
    """The first letter of it; standard output is for results alone."""
    print(prompt, end="", file=sys.stderr, flush=True)
    return input().strip().lower()[:1]


def raise_outcome(migration: Migration, *, is_touched: bool) -> None:
    """Returns if it was done; otherwise raises what kept it from that."""
    if migration.phase is Phase.done:
        return
    where = f" to {migration.destination}" if migration.destination != migration.source else ""
    why = migration.error or str(migration.phase)
    if not why.startswith(f"{migration.vm} was not moved"):
        why = f"{migration.vm} was not moved{where}: {why}"
    if migration.phase is Phase.cancelled:
        raise Cancelled(why)
    if migration.phase in {Phase.in_doubt, Phase.lost} or not migration.is_ended:
        doubt = f"whether {migration.vm} was moved{where} is in doubt: {migration.error}"
        told = doubt if migration.phase is Phase.in_doubt else why
        raise Unresolved(f"{told}; see `godwit migration show {migration.id}`")
    error = from_kind(migration.error_kind or "failed", why)
    raise Failed(why) if is_touched and isinstance(error, Refused) else error


def display(*, json: bool, names: Mapping[str, str] | None = None) -> tuple[Display, bool]:
    """Where events go, and whether that is a terminal; with `--json` standard output is the result's alone.

    `names` are the VMs of several migrations.
    """
    stream = sys.stderr if json else sys.stdout
    if stream.isatty():
        from godwit.cli.bar import Bar

        return Bar(stream, names), True
    return Lines(stream, names or {}), sys.stdin.isatty() and sys.stderr.isatty()

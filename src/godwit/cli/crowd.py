"""Several migrations followed at once: a line or a bar for each, and one outcome for all."""

from __future__ import annotations

import queue
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from godwit.cli.show import warn
from godwit.cli.watch import Answer, Detached, Display, Interrupts, ask, raise_outcome
from godwit.core.errors import Broken, Cancelled, Failed, GodwitError, Refused, Unresolved
from godwit.core.migration import Event, Migration
from godwit.core.phase import Phase

if TYPE_CHECKING:
    from godwit.client.migrations import Migrations
    from godwit.core.report import Report

GRAVEST_FIRST = (Unresolved, Broken, Failed, Refused)
"""Which error speaks for all of them; `Cancelled`, which is a `Failed` too, comes after what failed by itself."""


@dataclass
class Ended:
    """How one VM's move ended."""

    vm: str
    report: Report | None = None
    error: GodwitError | None = None
    """None: it was moved."""


@dataclass
class Crowd:
    """Migrations being followed, by id the VM that each one moves."""

    client: Migrations
    vms: Mapping[str, str]
    display: Display
    interrupts: Interrupts
    is_terminal: bool
    _told: queue.SimpleQueue[tuple[str, Event | GodwitError | None]] = field(default_factory=queue.SimpleQueue)
    _left: set[str] = field(default_factory=set)
    _touched: set[str] = field(default_factory=set)
    _is_cancelling: bool = False

    def to_their_ends(self) -> list[Ended]:
        """How each has ended, in the order given; `Detached` if the person does not wait for that."""
        self._left = set(self.vms)
        for id in self.vms:
            threading.Thread(target=self._listen, args=(id,), daemon=True).start()
        while self._left:
            try:
                with self.interrupts.heard():
                    self.display.resume()
                    self._follow()
            except KeyboardInterrupt:
                self.display.pause()
                self._interrupted()
            finally:
                self.display.pause()
        return [self._ended(id, vm) for id, vm in self.vms.items()]

    def _listen(self, id: str) -> None:
        try:
            for event in self.client.events(id):
                self._told.put((id, event))
            self._told.put((id, None))
        except GodwitError as error:
            self._told.put((id, error))

    def _follow(self) -> None:
        while self._left:
            id, told = self._told.get()
            if isinstance(told, Event):
                if told.phase is Phase.reserving:
                    self._touched.add(id)
                self.display.show(told)
            else:
                self._left.discard(id)
                if told:
                    warn(f"godwit: {told.message}")

    def _interrupted(self) -> None:
        answer = ask(self._names(), self.interrupts) if self.is_terminal else Answer.cancel
        if answer is Answer.detach:
            raise Detached(self._names())
        if answer is Answer.cancel:
            self._cancel()

    def _names(self) -> str:
        """The VMs whose moves have not ended."""
        return ", ".join(vm for id, vm in self.vms.items() if id in self._left)

    def _cancel(self) -> None:
        """All that can be is being undone, what waits for its turn first; what must go on is waited for."""
        if self._is_cancelling and not self.is_terminal:
            raise Cancelled(f"the moves of {self._names()} are still being undone: see `godwit migration list`")
        self._is_cancelling = True
        waits = {id: self.client.migration(id).phase is Phase.pending for id in self._left}
        for id in sorted(waits, key=lambda each: (not waits[each], each)):
            try:
                self.client.cancel(id)
            except Refused as error:
                if error.code == "too-late":
                    warn(f"godwit: {error.message}")

    def _ended(self, id: str, vm: str) -> Ended:
        migration: Migration = self.client.migration(id)
        ended = Ended(vm, self.client.report(id))
        try:
            raise_outcome(migration, is_touched=id in self._touched)
        except GodwitError as error:
            ended.error = error
        return ended


def raise_gravest(ended: Sequence[Ended]) -> None:
    """Returns if all were moved; otherwise raises one error for all of them, of the gravest kind.

    It is no `Refused`, which says that nothing was touched, where some were moved.
    """
    errors = [each.error for each in ended if each.error]
    if not errors:
        return
    names = ", ".join(each.vm for each in ended if each.error)
    said = f"{len(errors)} of {len(ended)} VMs were not moved: {names}; see above, and `godwit migration list`"
    gravest = min(errors, key=_gravity)
    kind = Failed if isinstance(gravest, Refused) and len(errors) < len(ended) else gravest.__class__
    raise kind(said if len(ended) > 1 else errors[0].message)


def _gravity(error: GodwitError) -> tuple[int, bool]:
    place = next(place for place, kind in enumerate(GRAVEST_FIRST) if isinstance(error, kind))
    return place, isinstance(error, Cancelled)

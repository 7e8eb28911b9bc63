"""What the rules of a check look at."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from godwit.core.finding import Finding
from godwit.core.forecast import NOTHING, Measured
from godwit.core.looked import Looked
from godwit.core.model import HostFacts
from godwit.core.plan import Move
from godwit.core.report import Forecast


@dataclass(frozen=True)
class Case:
    """All that a rule may know: the move, what both hosts tell of themselves, and what was found by looking closer.

    What was not looked at is None or empty in `looked`, and the rules about it find nothing.
    """

    move: Move
    source: HostFacts
    destination: HostFacts
    looked: Looked = field(default_factory=Looked)
    measured: Measured = NOTHING
    forecast: Forecast = field(default_factory=Forecast)

    @property
    def vm(self) -> str:
        """The VM's name."""
        return self.move.spec.name


Found = Iterator[Finding]
Rule = Callable[[Case], Found]

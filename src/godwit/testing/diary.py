"""A diary in memory that keeps the phase table, as the manager's does."""

from __future__ import annotations

from dataclasses import dataclass, field

from godwit.contract.host import HandedOver, Settled
from godwit.core.errors import GodwitError
from godwit.core.forecast import Past
from godwit.core.migration import Event
from godwit.core.model import VmSpec
from godwit.core.phase import Phase, step
from godwit.core.plan import Plan
from godwit.core.report import Forecast


@dataclass
class MemoryDiary:
    """Implements contract.diary.Diary."""

    phases: list[Phase] = field(default_factory=lambda: [Phase.pending])
    events: list[Event] = field(default_factory=list)
    error: GodwitError | None = None
    handed: HandedOver | None = None
    told: Settled | None = None
    plan: Plan | None = None
    spec: VmSpec | None = None
    past: tuple[Past, ...] = ()
    forecast: Forecast | None = None
    elapsed_s: float = 0.0
    """Fakes take no time by themselves."""

    @property
    def phase(self) -> Phase:
        """The last one entered."""
        return self.phases[-1]

    @property
    def is_settled(self) -> bool:
        """As last told."""
        return bool(self.told and self.told.settled)

    async def enter(self, phase: Phase, /, *, error: GodwitError | None = None) -> None:
        """By the table."""
        self.phases.append(step(self.phase, phase))
        self.error = error or self.error

    async def planned(self, plan: Plan, /) -> None:
        """Kept."""
        self.plan = plan

    async def stored(self, spec: VmSpec, /) -> None:
        """Kept."""
        self.spec = spec

    async def record(self, event: Event, /) -> None:
        """Kept."""
        self.events.append(event)

    async def foresaw(self, forecast: Forecast, /) -> None:
        """Kept."""
        self.forecast = forecast

    async def moved(self, handed: HandedOver, /) -> None:
        """Kept."""
        self.handed = handed

    async def settled(self, settled: Settled, /) -> None:
        """Kept."""
        self.told = settled

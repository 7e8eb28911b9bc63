"""What the story needs from whoever keeps the books: each step is stored before the next begins."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from godwit.contract.host import HandedOver, Settled
from godwit.core.errors import GodwitError
from godwit.core.forecast import Past
from godwit.core.migration import Event
from godwit.core.model import VmSpec
from godwit.core.phase import Phase
from godwit.core.plan import Plan
from godwit.core.report import Forecast


class Diary(Protocol):
    """The books of one migration. Every verb has stored what it was told when it returns."""

    @property
    def phase(self) -> Phase:
        """The phase entered last."""
        ...

    @property
    def elapsed_s(self) -> float:
        """Since the migration was asked for."""
        ...

    @property
    def is_settled(self) -> bool:
        """Nothing of it goes on in the network any more, as far as was told."""
        ...

    async def enter(self, phase: Phase, /, *, error: GodwitError | None = None) -> None:
        """The migration is in that phase now (because of that error); `Broken` if the table forbids it."""
        ...

    async def planned(self, plan: Plan, /) -> None:
        """What will be done is known to whoever has to finish or undo it."""
        ...

    async def stored(self, spec: VmSpec, /) -> None:
        """The VM's disks lie where that says, however the migration ends."""
        ...

    async def record(self, event: Event, /) -> None:
        """The event is in the feed."""
        ...

    @property
    def past(self) -> Sequence[Past]:
        """What earlier moves of this VM and over this link took, oldest first."""
        ...

    async def foresaw(self, forecast: Forecast, /) -> None:
        """What the move is expected to take is kept, to be compared with what it took."""
        ...

    async def moved(self, handed: HandedOver, /) -> None:
        """The VM lives at the destination; what the report needs of the hand-over is kept."""
        ...

    async def settled(self, settled: Settled, /) -> None:
        """What the network was told is kept."""
        ...

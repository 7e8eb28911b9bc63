"""The phases of a migration: one table; an illegal step raises and changes nothing."""

from __future__ import annotations

from enum import StrEnum
from types import MappingProxyType

from godwit.core.errors import Broken


class Phase(StrEnum):
    """Where a migration is; the values are what users see."""

    pending = "pending"
    checking = "checking"
    reserving = "reserving"
    preparing = "preparing"
    copying = "copying"
    handing_over = "handing-over"
    settling = "settling"
    done = "done"
    undoing = "undoing"
    failed = "failed"
    cancelled = "cancelled"
    in_doubt = "in-doubt"
    lost = "lost"


P = Phase

STEPS = MappingProxyType(
    {
        P.pending: {P.checking, P.failed, P.cancelled},
        P.checking: {P.reserving, P.failed, P.cancelled},
        P.reserving: {P.preparing, P.undoing},
        P.preparing: {P.copying, P.undoing},
        P.copying: {P.handing_over, P.undoing, P.in_doubt},
        P.handing_over: {P.settling, P.undoing, P.in_doubt, P.lost},
        P.settling: {P.done, P.in_doubt},
        P.undoing: {P.failed, P.cancelled, P.in_doubt},
        P.in_doubt: {P.settling, P.undoing, P.lost},
        P.done: set(),
        P.failed: set(),
        P.cancelled: set(),
        P.lost: set(),
    }
)
"""The whole machine: phase -> the phases that may follow. From the settling on there is no way back."""

DEADLINES_S = MappingProxyType(
    {
        P.pending: 3600.0,
        P.checking: 30.0,
        P.reserving: 30.0,
        P.preparing: 60.0,
        P.copying: 3600.0,
        P.handing_over: 60.0,
        P.settling: 60.0,
        P.undoing: 60.0,
    }
)
"""How long each phase may last by default, in seconds; ended phases have no deadline.

The deadline of `handing-over` never ends a VM: the source takes it back if its journal lets it, or the agents go on
(core/ownership.py).
"""

ENDED = frozenset({P.done, P.failed, P.cancelled, P.lost})

CANCELLABLE = frozenset({P.pending, P.checking, P.reserving, P.preparing, P.copying})
"""Before the source's vCPUs stop; afterwards the move goes on to its end."""


def step(now: Phase, following: Phase) -> Phase:
    """The following phase, if the table allows it; otherwise `Broken`."""
    if following not in STEPS[now]:
        allowed = ", ".join(sorted(STEPS[now])) or "nothing"
        raise Broken(f"a migration cannot go from {now} to {following}: only {allowed} may follow")
    return following


def diagram() -> str:
    """The table as a Mermaid state diagram, for docs/phases.md."""
    lines = ["stateDiagram-v2", "    [*] --> pending"]
    for now, following in STEPS.items():
        lines += [f"    {now} --> {each}" for each in sorted(following)]
        if now in ENDED:
            lines.append(f"    {now} --> [*]")
    return "\n".join(line.replace("-over", "_over").replace("in-doubt", "in_doubt") for line in lines) + "\n"


if __name__ == "__main__":
    print(diagram())

"""What was measured, as values; and what is made of it: medians, ratios, tables, `build/bench.json`. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from statistics import geometric_mean
from typing import Any

from pydantic import BaseModel, ConfigDict

from benchmarks.figures import spread, table


class Run(BaseModel):
    """One migration by one peer. Times in milliseconds; none: it was not seen."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    case: str
    peer: str
    round: int
    outcome: str = "done"
    stall_ms: float | None = None
    """The client's longest wait: for an answer that came after STOP, or in a bulk transfer for more data."""
    hold_ms: float | None = None
    """Its longest wait for an answer that came before STOP."""
    blackout_ms: float | None = None
    """QEMU's own timestamps: STOP at the source to RESUME at the destination."""
    warm_up_ms: float | None = None
    """RESUME to the first answer to a datagram that was sent after it."""
    command_ms: float | None = None
    """The command's start to its end."""
    total_ms: float | None = None
    """The memory stream alone, by whoever drives it."""
    transferred_bytes: int | None = None
    lost_frames: int | None = None
    """Datagrams of the probe that were never answered."""
    rto: int | None = None
    """Retransmission timeouts in the client's kernel."""
    retransmissions: int | None = None
    resets: int | None = None
    migration_ms: float | None = None
    forecast_total_ms: float | None = None
    forecast_blackout_ms: float | None = None
    note: str = ""
    commit: str = ""
    """Of godwit, which was measured."""

    @property
    def above_floor_ms(self) -> float | None:
        """What the stall has more than blackout and warm-up, which nobody who stops the VM can avoid."""
        if self.stall_ms is None or self.blackout_ms is None or self.warm_up_ms is None:
            return None
        return self.stall_ms - self.blackout_ms - self.warm_up_ms


SPREADS = (
    *("stall_ms", "hold_ms", "blackout_ms", "warm_up_ms", "above_floor_ms"),
    *("command_ms", "total_ms", "transferred_bytes"),
)
COUNTS = ("lost_frames", "rto", "retransmissions", "resets")


def cases(runs: Sequence[Run]) -> list[dict[str, Any]]:
    """One entry per case and peer, in the order in which they first came."""
    return [_summary(case, peer, _of(runs, case, peer)) for case, peer in dict.fromkeys((r.case, r.peer) for r in runs)]


def _of(runs: Sequence[Run], case: str, peer: str) -> list[Run]:
    return [each for each in runs if (each.case, each.peer) == (case, peer)]


def _summary(case: str, peer: str, runs: Sequence[Run]) -> dict[str, Any]:
    done = [each for each in runs if each.outcome == "done"]
    counts = {name: sum(getattr(each, name) or 0 for each in done) for name in COUNTS}
    spreads = {name: spread(getattr(each, name) for each in done) for name in SPREADS}
    ends = {end: sum(each.outcome == end for each in runs) for end in dict.fromkeys(each.outcome for each in runs)}
    return {"case": case, "peer": peer, "n": len(done), "outcomes": ends, **counts, **spreads}


def ratios(summaries: Sequence[dict[str, Any]], *, to: str = "virsh") -> dict[str, dict[str, float]]:
    """By case: each other peer's median over that of `to`; godwit's under plain names, `stall_vs_virsh`."""
    found: dict[str, dict[str, float]] = {}
    for base in summaries:
        if base["peer"] != to:
            continue
        words = found.setdefault(base["case"], {})
        for other in summaries:
            if other["case"] == base["case"] and other["peer"] != to:
                words.update(_ratios(base, other, to))
    return found


def _ratios(base: dict[str, Any], other: dict[str, Any], to: str) -> dict[str, float]:
    prefix = "" if other["peer"] == "godwit" else f"{other['peer']}_"
    return {
        f"{prefix}{name.removesuffix('_ms')}_vs_{to}": round(other[name]["median"] / base[name]["median"], 3)
        for name in ("stall_ms", "blackout_ms", "command_ms", "total_ms")
        if other[name] and base[name] and base[name]["median"]
    }


def mean_ratio(ratio: dict[str, dict[str, float]], names: Iterable[str], word: str) -> float | None:
    """The geometric mean of that ratio over those cases."""
    seen = [ratio[name][word] for name in names if word in ratio.get(name, {})]
    return round(geometric_mean(seen), 3) if seen else None


Column = tuple[str, Callable[[dict[str, Any]], str]]


def case_table(summaries: Sequence[dict[str, Any]], columns: Sequence[Column]) -> str:
    """One row per summary."""
    return table([head for head, _ in columns], [[cell(each) for _, cell in columns] for each in summaries]) + "\n"


def shown(name: str, digits: int = 0) -> Callable[[dict[str, Any]], str]:
    """A column's cell: median / p90 / max."""

    def cell(summary: dict[str, Any]) -> str:
        seen = summary[name]
        return " / ".join(f"{seen[word]:.{digits}f}" for word in ("median", "p90", "max")) if seen else "-"

    return cell


def count(name: str) -> Callable[[dict[str, Any]], str]:
    """A column's cell: a sum."""
    return lambda summary: str(summary[name])

"""The runs of `benchmarks.network`, as programs and as people read them."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby
from typing import Any

from benchmarks.figures import machine, spread, table

Summed = dict[str, Any]

_SUMS = (
    *("sent", "lost_frames", "duplicates", "reordered", "control_lost_frames", "resets", "rto"),
    *("retransmissions", "spurious", "frames_late"),
)
_SPREADS = (
    *("stall_ms", "hold_ms", "blackout_ms", "warm_up_ms", "udp_gap_ms", "command_ms", "total_ms", "full_speed_ms"),
    *("agents_cpu_ms", "agents_cpu_percent", "relayed_per_s", "rate"),
)


def summed(runs: Sequence[dict[str, Any]]) -> Summed:
    """The result as programs read it."""
    done = [run for run in runs if run.get("outcome") == "done"]
    keys = list(dict.fromkeys((run["case"], run["peer"]) for run in done))
    cases = [_case(*key, [run for run in done if (run["case"], run["peer"]) == key]) for key in keys]
    algorithms = sorted({run["congestion_control"] for run in done if run.get("congestion_control")})
    return {
        "machine": machine() | {"congestion_control": algorithms},
        "cases": cases,
        "failed": [run for run in runs if run.get("outcome") == "failed"],
        "ratios": _ratios(cases),
    }


def _case(case: str, peer: str, runs: list[dict[str, Any]]) -> Summed:
    timed = [each for each in runs if None not in (each.get("warm_up_ms"), each.get("stall_ms"))]
    over = [each["stall_ms"] - each["blackout_ms"] - each["warm_up_ms"] for each in timed]
    return {
        "case": case,
        "peer": peer,
        "n": len(runs),
        **{name: sum(each[name] or 0 for each in runs if name in each) for name in _SUMS if _has(runs, name)},
        **{name: spread(each.get(name) for each in runs) for name in _SPREADS if _has(runs, name)},
        **({"stall_over_ms": spread(over)} if over else {}),
        "duplicates_worst": max((each.get("duplicates", 0) for each in runs), default=0),
        "runs_that_lost": sum(each.get("lost_frames", 0) > 0 for each in runs),
    }


def _has(runs: list[dict[str, Any]], name: str) -> bool:
    return any(name in each for each in runs)


def _ratios(cases: list[Summed]) -> Summed:
    """Of the stalls' medians."""
    by = {(each["case"], each["peer"]): each["stall_ms"]["median"] for each in cases if "stall_ms" in each}
    both = [case for case, peer in by if peer == "godwit" and (case, "qemu") in by]
    return {case: {"stall_vs_qemu": round(by[case, "godwit"] / by[case, "qemu"], 3)} for case in both}


Column = tuple[str, str]
"""Its head and what is in it."""

_PROBE: tuple[Column, ...] = (
    ("datagrams lost", "lost_frames"),
    ("twice", "duplicates"),
    ("out of order", "reordered"),
    ("TCP timeouts", "rto"),
    ("resets", "resets"),
    ("stall ms: median, p90, max", "stall_ms"),
    ("blackout ms", "blackout_ms"),
    ("warm-up ms", "warm_up_ms"),
    ("stall beyond both ms", "stall_over_ms"),
    ("longest wait before STOP ms", "hold_ms"),
)
_COLUMNS: dict[str, tuple[Column, ...]] = {
    "priority": _PROBE,
    "fifo": _PROBE,
    "bulk": (
        ("sent again", "retransmissions"),
        ("of these had arrived", "spurious"),
        ("TCP timeouts", "rto"),
        ("resets", "resets"),
        ("stall ms: median, p90, max", "stall_ms"),
        ("full speed after RESUME ms", "full_speed_ms"),
    ),
    "flood": (
        ("a second", "rate"),
        ("sent", "sent"),
        ("lost", "lost_frames"),
        ("lost while nothing moved", "control_lost_frames"),
        ("twice", "duplicates"),
        ("out of order", "reordered"),
        ("blackout ms: median, p90, max", "blackout_ms"),
    ),
    "relay": (
        ("a second", "rate"),
        ("relayed a second: median, p90, max", "relayed_per_s"),
        ("both agents' CPU %", "agents_cpu_percent"),
        ("lost", "lost_frames"),
        ("twice", "duplicates"),
    ),
}


def shown(result: Summed) -> str:
    """The result as people read it: a table for each kind of case, and what was kept of the promises."""
    parts = []
    for columns, cases in groupby(sorted(result["cases"], key=_place), key=lambda each: _COLUMNS[each["case"]]):
        heads = ("case", "peer", "n", *(head for head, _ in columns))
        rows = [(each["case"], each["peer"], each["n"], *(_cell(each, name) for _, name in columns)) for each in cases]
        parts.append(table(heads, rows))
    parts.append(table(("promise", "measured", "kept"), _promises(result["cases"])))
    algorithms = " and ".join(result["machine"]["congestion_control"]) or "unknown"
    parts.append(f"Congestion control: {algorithms}. Runs that failed and were repeated: {len(result['failed'])}.")
    return "\n\n".join(parts)


def _place(case: Summed) -> tuple[int, str]:
    return list(_COLUMNS).index("priority" if case["case"] == "fifo" else case["case"]), case["case"] == "fifo"


def _cell(case: Summed, name: str) -> object:
    value = case.get(name, "")
    if name == "rate" and value:
        return f"{value['median']:,.0f}"
    return ", ".join(f"{each:,.0f}" for each in value.values()) if isinstance(value, dict) else value


def _promises(cases: list[Summed]) -> list[tuple[str, str, str]]:
    """What `docs/network.md` says that godwit does, beside what it did."""
    by = {(each["case"], each["peer"]): each for each in cases}
    rows: list[tuple[str, str, str]] = []

    def told(promise: str, measured: str, *, kept: bool) -> None:
        rows.append((promise, measured, "yes" if kept else "**no**"))

    for name in ("priority", "fifo"):
        if ours := by.get((name, "godwit")):
            lost, twice = ours["lost_frames"], ours["duplicates_worst"]
            told(f"{name}: no datagram lost", f"{lost} of {ours['sent']:,}", kept=lost == 0)
            told(f"{name}: at most 2 twice per migration", f"{twice}", kept=twice <= 2)
            told(f"{name}: no reset, at most 1 timeout", f"{ours['resets']}, {ours['rto']}", kept=_is_calm(ours))
            over = ours.get("stall_over_ms", {"median": float("inf"), "p90": float("inf")})  # no answer in any run
            kept = over["median"] <= 10 and over["p90"] <= 25
            measured = f"{over['median']:.1f}, {over['p90']:.1f} ms"
            told(f"{name}: stall beyond blackout and warm-up at most 10 ms, p90 25 ms", measured, kept=kept)
    if ours := by.get(("flood", "godwit")):
        told("flood: nothing lost", f"{ours['lost_frames']} of {ours['sent']:,}", kept=ours["lost_frames"] == 0)
    if ours := by.get(("bulk", "godwit")):
        needed = ours["retransmissions"] - ours["spurious"]
        told("bulk: nothing sent again that had not arrived", f"{needed}", kept=needed <= 0)
        back = ours["full_speed_ms"]["max"]
        told("bulk: full speed within 1 s", f"{back:.0f} ms at worst", kept=back <= 1000)
        if theirs := by.get(("bulk", "qemu")):
            share = f"{ours['spurious']} beside {theirs['retransmissions']}"
            kept = ours["spurious"] <= theirs["retransmissions"] / 10
            told("bulk: sent again in vain at most a tenth of what bare QEMU sends again", share, kept=kept)
    return rows


def _is_calm(case: Summed) -> bool:
    return (case["resets"], case["rto"]) in ((0, 0), (0, 1))

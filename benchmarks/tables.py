"""The tables of `make bench`, what they ask of godwit, and a picture: from runs, purely."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from html import escape
from typing import Any

from benchmarks.cases import COMPRESSING
from benchmarks.figures import spread, table
from benchmarks.tally import Run, case_table, cases, count, mean_ratio, ratios, shown

PLAIN = ("virsh", "virsh-10ms", "qemu", "qemu-same", "godwit")
TLS = ("virsh", "godwit", "godwit-tls")
COMPRESSED = ("virsh", "godwit", COMPRESSING)
ANSWERED = ("idle", "dirty")
BULK = ("download", "upload")
ONCE = "dirties-faster"
"""The case in which each peer moves once only."""


def document(runs: Sequence[Run], machine: dict[str, Any], *, kind: str, rounds: int) -> dict[str, Any]:
    """`bench.json` of a `full` or `quick` run that wanted so many rounds of each case."""
    found = cases(runs)
    return {
        "kind": kind,
        "rounds": rounds,
        "machine": machine,
        "cases": found,
        "ratios": ratios(found),
        "means": _means(found),
        "forecast": _errors(runs),
    }


def _means(summaries: Sequence[dict[str, Any]]) -> dict[str, float | None]:
    ratio = ratios(summaries)
    return {
        f"stall_vs_virsh_{word}": mean_ratio(
            ratio, [name for name in ratio if name.startswith(kinds)], "stall_vs_virsh"
        )
        for word, kinds in (("answered", ANSWERED), ("bulk", BULK))
    }


def _errors(runs: Iterable[Run]) -> dict[str, dict[str, float]]:
    """How far the forecast was off: of the total in parts of it, of the blackout in milliseconds."""
    ours = [each for each in runs if each.peer.startswith("godwit") and each.outcome == "done"]
    found = {
        "total": [
            abs(e.forecast_total_ms - e.migration_ms) / e.migration_ms
            for e in ours
            if e.forecast_total_ms and e.migration_ms
        ],
        "blackout_ms": [
            abs(e.forecast_blackout_ms - e.blackout_ms) for e in ours if e.forecast_blackout_ms and e.blackout_ms
        ],
    }
    return {name: {"n": len(seen), **spread(seen)} for name, seen in found.items() if seen}


COLUMNS = (
    ("peer", lambda each: str(each["peer"])),
    ("n", lambda each: str(each["n"])),
    ("client stall ms", shown("stall_ms")),
    ("held before ms", shown("hold_ms")),
    ("blackout ms", shown("blackout_ms", 1)),
    ("warm-up ms", shown("warm_up_ms")),
    ("stall above both ms", shown("above_floor_ms")),
    ("command ms", shown("command_ms")),
    ("stream ms", shown("total_ms")),
    ("sent MB", lambda each: f"{each['transferred_bytes']['median'] / 1e6:.0f}" if each["transferred_bytes"] else "-"),
    ("lost frames", count("lost_frames")),
    ("RTOs", count("rto")),
    ("resets", count("resets")),
)
"""Spreads are median / 90th percentile / maximum."""


def page(found: dict[str, Any]) -> str:
    """All tables, as Markdown."""
    machine, summaries = found["machine"], found["cases"]
    words = ", ".join(f"{name} {value}" for name, value in machine.items())
    qemu = f"QEMU {machine.get('qemu', 'unknown')}"
    parts = [f"{extent(found)} Machine: {words}.\n"]
    for title, wanted in (("", PLAIN), ("With TLS", TLS), ("Compressed", COMPRESSED)):
        chosen = [each for each in summaries if each["peer"] in wanted]
        for name in dict.fromkeys(each["case"] for each in chosen if each["peer"] == wanted[-1]):
            rows = sorted((e for e in chosen if e["case"] == name), key=lambda each: wanted.index(each["peer"]))
            head = f"{name}, {qemu}{f' ({title})' if title else ''}"
            parts.append(f"#### {head}\n\n{case_table(rows, COLUMNS)}")
            parts += [_others(rows)]
    parts.append(f"#### godwit against virsh, {qemu}\n\n{_goals(found)}")
    return "\n".join(part for part in parts if part)


def extent(found: dict[str, Any]) -> str:
    """How much of it there is."""
    counts = [sum(each["outcomes"].values()) for each in found["cases"] if not each["case"].startswith(ONCE)]
    moves = "no moves" if not counts else f"{min(counts)} to {max(counts)} moves"
    names = {each["case"] for each in found["cases"]}
    return f"A {found['kind']} run: {len(names)} cases, {moves} of each peer in each (at most {found['rounds']})."


def _others(rows: Sequence[dict[str, Any]]) -> str:
    """Ends that were not as wanted."""
    odd = [f"{row['peer']}: {n} x {end}" for row in rows for end, n in row["outcomes"].items() if end != "done"]
    return f"Not done: {'; '.join(odd)}.\n" if odd else ""


def _goals(found: dict[str, Any]) -> str:
    rows = [
        [name, *(_number(words.get(f"{word}_vs_virsh")) for word in ("stall", "blackout", "command", "total"))]
        for name, words in found["ratios"].items()
    ]
    means = found["means"]
    rows.append(["geometric mean, idle and dirty", _number(means["stall_vs_virsh_answered"]), "", "", ""])
    rows.append(["geometric mean, bulk", _number(means["stall_vs_virsh_bulk"]), "", "", ""])
    text = table(["godwit / virsh, medians", "stall", "blackout", "command", "stream"], rows) + "\n"
    off = {"blackout_ms": ("blackout", "{:.1f} ms"), "total": ("total", "{:.0%}")}
    for key, error in found["forecast"].items():
        word, form = off[key]
        median, p90 = (form.format(error[each]) for each in ("median", "p90"))
        text += f"\nForecast of the {word}: off by {median} at the median and {p90} at p90 ({error['n']} migrations).\n"
    return text


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}"


WIDTH, ROW, LEFT, RIGHT, TOP = 860, 18, 250, 20, 34
LEAST_MS, MOST_MS = 10.0, 2000.0
COLOURS = {"virsh": "#c2255c", "virsh-10ms": "#e67700", "qemu": "#6b7785", "qemu-same": "#495057", "godwit": "#1f6feb"}


def picture(runs: Sequence[Run]) -> str:
    """Every stall as a dot, a line of dots for each case and peer, on a logarithmic scale; as SVG."""
    lines = list(dict.fromkeys((each.case, each.peer) for each in runs if each.peer in COLOURS))
    order = list(dict.fromkeys(case for case, _ in lines))
    lines.sort(key=lambda line: (order.index(line[0]), PLAIN.index(line[1])))
    height = TOP + ROW * len(lines) + 24
    shapes = [_grid(at_ms, height) for at_ms in (10, 20, 50, 100, 200, 500, 1000, 2000)]
    for number, (case, peer) in enumerate(lines):
        y = TOP + ROW * number + ROW / 2
        shapes.append(f'<text x="{LEFT - 8}" y="{y + 4:.1f}" text-anchor="end">{escape(case)} · {escape(peer)}</text>')
        stalls = [e.stall_ms for e in runs if (e.case, e.peer) == (case, peer) and e.stall_ms]
        shapes += [f'<circle cx="{_x(each):.1f}" cy="{y:.1f}" r="3.5" fill="{COLOURS[peer]}"/>' for each in stalls]
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" font-family="sans-serif"'
        ' font-size="11" fill="#1c2530"><rect width="100%" height="100%" fill="#fff"/>'
        f'<text x="{LEFT}" y="14" font-weight="600">The client\'s longest wait, ms (each dot one migration)</text>'
    )
    return head + "".join(shapes) + "</svg>\n"


def _x(stall_ms: float) -> float:
    share = math.log(min(max(stall_ms, LEAST_MS), MOST_MS) / LEAST_MS) / math.log(MOST_MS / LEAST_MS)
    return LEFT + share * (WIDTH - LEFT - RIGHT)


def _grid(at_ms: float, height: float) -> str:
    x = _x(at_ms)
    line = f'<line x1="{x:.1f}" x2="{x:.1f}" y1="{TOP - 8}" y2="{height - 20}" stroke="#e3e8ee"/>'
    return f'{line}<text x="{x:.1f}" y="{height - 6}" text-anchor="middle" fill="#6b7785">{at_ms:g}</text>'

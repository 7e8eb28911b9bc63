"""What godwit wants to reach beside virsh, and whether it does: from the summaries of `make bench`, purely."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from statistics import geometric_mean
from typing import Any, NamedTuple

from benchmarks.cases import COMPRESSING
from benchmarks.figures import table

Summary = dict[str, Any]

STALL, STALL_MEAN, STALL_BULK = 0.45, 0.33, 0.6
ABOVE_MS = 15.0
BLACKOUT, BLACKOUT_10MS, SHORT_MS, BARE_MS = 0.2, 0.5, 12.0, 3.0
COMMAND = 0.5
STREAM, COMPRESSED, GBIT = 1.15, 1.0, "-1gbit"
"""Of the time in which a link of 1 Gbit/s carries what had to be sent."""
DEADLINE_S = 60
TOTAL, TOTAL_P90, OFF_MS, OFF_P90_MS = 0.10, 0.20, 10.0, 20.0
ANSWERED, BULK, HOPELESS = ("idle", "dirty-"), ("download", "upload"), "dirties-faster"


class Goal(NamedTuple):
    """One figure that was wanted."""

    name: str
    wanted: str
    measured: str
    is_met: bool


def goals(found: dict[str, Any]) -> list[Goal]:
    """All that can be judged by what was measured."""
    by_case: dict[str, dict[str, Summary]] = {}
    for each in found["cases"]:
        if each["n"]:
            by_case.setdefault(each["case"], {})[each["peer"]] = each
    pairs = {case: peers for case, peers in by_case.items() if {"virsh", "godwit"} <= peers.keys()}
    of_cases = (goal for case, peers in pairs.items() if not case.startswith(HOPELESS) for goal in _of(case, peers))
    return [*_stalls(pairs), *of_cases, *_hopeless(found), *_errors(found)]


def _stalls(pairs: dict[str, dict[str, Summary]]) -> Iterator[Goal]:
    for kinds, most, what in ((ANSWERED, STALL_MEAN, "idle and dirty"), (BULK, STALL_BULK, "bulk")):
        seen = [_ratio(peers, "stall_ms") for case, peers in pairs.items() if case.startswith(kinds)]
        if known := [each for each in seen if each]:
            mean = geometric_mean(known)
            yield _at_most(f"client stall, geometric mean over {what}, of virsh's", mean, most)


def _of(case: str, peers: dict[str, Summary]) -> Iterator[Goal]:
    ours = peers["godwit"]
    if case.startswith(ANSWERED) and (stall := _ratio(peers, "stall_ms")):
        yield _at_most(f"{case}: client stall, of virsh's", stall, STALL)
        if ours["above_floor_ms"]:
            yield _at_most(f"{case}: stall above blackout and warm-up, ms", ours["above_floor_ms"]["median"], ABOVE_MS)
    for peer, share in (("virsh", BLACKOUT), ("virsh-10ms", BLACKOUT_10MS)):
        if peer in peers:
            most = max(share * peers[peer]["blackout_ms"]["median"], SHORT_MS)
            yield _at_most(f"{case}: blackout beside {peer}, ms", ours["blackout_ms"]["median"], most)
    if "qemu-same" in peers:
        most = peers["qemu-same"]["blackout_ms"]["median"] + BARE_MS
        yield _at_most(f"{case}: blackout beside bare QEMU with the same settings, ms", _median(ours), most)
    if case.endswith(GBIT):
        yield from _streams(case, peers)
    if command := _ratio(peers, "command_ms"):
        yield _at_most(f"{case}: the whole command, of virsh's", command, COMMAND)


def _streams(case: str, peers: dict[str, Summary]) -> Iterator[Goal]:
    ours = peers["godwit"]
    if ours["transferred_bytes"]:
        carried_ms = ours["transferred_bytes"]["median"] * 8 / 1e6
        for peer, word, most in (("godwit", "the stream", STREAM), (COMPRESSING, "compressed", COMPRESSED)):
            if peer in peers and (took := peers[peer]["total_ms"]):
                yield _at_most(
                    f"{case}: {word}, of what the link needs for all bytes", took["median"] / carried_ms, most
                )


def _hopeless(found: dict[str, Any]) -> Iterator[Goal]:
    """A guest that dirties faster than the link: moved within the deadline, or refused."""
    for each in found["cases"]:
        if each["case"].startswith(HOPELESS) and each["peer"] == "godwit":
            took = f"moved in {each['command_ms']['median'] / 1000:.1f} s" if each["n"] else ", ".join(each["outcomes"])
            is_in_time = not each["n"] or each["command_ms"]["max"] <= 1000 * DEADLINE_S
            is_met = is_in_time and each["outcomes"].keys() <= {"done", "refused"}
            yield Goal(f"{each['case']}: the end", f"moved within {DEADLINE_S} s, or refused", took, is_met)


def _errors(found: dict[str, Any]) -> Iterator[Goal]:
    told = found["forecast"]
    limits = (
        *(("total", "median", TOTAL), ("total", "p90", TOTAL_P90)),
        *(("blackout_ms", "median", OFF_MS), ("blackout_ms", "p90", OFF_P90_MS)),
    )
    for key, word, most in limits:
        if key in told:
            what = (
                "forecast of the blackout, off by ms" if key == "blackout_ms" else "forecast of the time, off by parts"
            )
            yield _at_most(f"{what}, {word} of {told[key]['n']}", told[key][word], most)


def _median(summary: Summary) -> float:
    return float(summary["blackout_ms"]["median"])


def _ratio(peers: dict[str, Summary], name: str) -> float | None:
    ours, theirs = peers["godwit"][name], peers["virsh"][name]
    return ours["median"] / theirs["median"] if ours and theirs and theirs["median"] else None


def _at_most(name: str, measured: float, most: float) -> Goal:
    digits = 2 if most < 2 else 1
    return Goal(name, f"at most {most:.{digits}f}", f"{measured:.{digits}f}", measured <= most)


def judged(all_goals: Sequence[Goal]) -> str:
    """A table, the misses first."""
    rows = [(each.name, each.wanted, each.measured, "yes" if each.is_met else "**no**") for each in all_goals]
    rows.sort(key=lambda row: row[3] == "yes")
    return table(("what", "wanted", "measured", "met"), rows) + "\n"


def brief(found: dict[str, Any]) -> str:
    """For the README: each case in a line, medians of virsh and of godwit."""
    rows = []
    for case in dict.fromkeys(each["case"] for each in found["cases"]):
        peers = {each["peer"]: each for each in found["cases"] if each["case"] == case}
        if "virsh" in peers and "godwit" in peers:
            pair = peers["virsh"], peers["godwit"]
            words = [_beside(pair, name, digits) for name, digits in (("stall_ms", 0), ("blackout_ms", 0))]
            both = pair[0]["n"] and pair[1]["n"]
            command = _beside(pair, "command_ms", 0) if both else " → ".join(map(_end, pair))
            rows.append((case, *words, command, f"{pair[0]['n']}, {pair[1]['n']}"))
    heads = ("case", "the client's longest wait", "blackout", "the whole command", "moves")
    return table(heads, rows) + "\n"


def _end(summary: Summary) -> str:
    """How long its commands took, or how they ended without a move."""
    return f"{summary['command_ms']['median']:.0f} ms" if summary["n"] else ", ".join(summary["outcomes"])


def _beside(pair: Sequence[Summary], name: str, digits: int) -> str:
    if not all(each[name] for each in pair):
        return "-"
    theirs, ours = (each[name]["median"] for each in pair)
    return f"{theirs:.{digits}f} → {ours:.{digits}f} ms ({ours / theirs:.2f})"

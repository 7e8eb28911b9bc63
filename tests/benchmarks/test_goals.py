"""What godwit wants to reach beside virsh, judged; and how figures get into the pages."""

from __future__ import annotations

from typing import Any

import pytest
from benchmarks.goals import brief, goals, judged
from benchmarks.publish import between
from benchmarks.tables import document
from benchmarks.tally import Run


def run(peer: str, *, stall_ms: float, blackout_ms: float, command_ms: float, case: str = "idle-1gbit") -> Run:
    return Run(
        case=case,
        peer=peer,
        round=0,
        stall_ms=stall_ms,
        blackout_ms=blackout_ms,
        warm_up_ms=40,
        command_ms=command_ms,
        migration_ms=command_ms - 100,
        forecast_total_ms=command_ms,
        forecast_blackout_ms=blackout_ms + 12,
    )


RUNS = [
    run("virsh", stall_ms=200, blackout_ms=100, command_ms=1000),
    run("virsh-10ms", stall_ms=90, blackout_ms=12, command_ms=700),
    run("qemu-same", stall_ms=80, blackout_ms=6, command_ms=450),
    run("godwit", stall_ms=60, blackout_ms=10, command_ms=1100),
]


def found(runs: list[Run] = RUNS) -> dict[str, Any]:
    return document(runs, {"cpus": 2}, kind="full", rounds=10)


def test_each_goal_is_met_or_not() -> None:
    met = {each.name: (each.measured, each.is_met) for each in goals(found())}

    assert met["client stall, geometric mean over idle and dirty, of virsh's"] == ("0.30", True)
    assert met["idle-1gbit: client stall, of virsh's"] == ("0.30", True)
    assert met["idle-1gbit: stall above blackout and warm-up, ms"] == ("10.0", True)
    assert met["idle-1gbit: blackout beside virsh, ms"] == ("10.0", True)
    assert met["idle-1gbit: blackout beside virsh-10ms, ms"] == ("10.0", True)
    assert met["idle-1gbit: blackout beside bare QEMU with the same settings, ms"] == ("10.0", False)
    assert met["idle-1gbit: the whole command, of virsh's"] == ("1.10", False)
    assert met["forecast of the time, off by parts, median of 1"] == ("0.10", True)
    assert met["forecast of the blackout, off by ms, median of 1"] == ("12.0", False)


def test_the_stream_takes_as_long_as_the_link_for_its_bytes_and_less_if_compressed() -> None:
    sent = {"total_ms": 1200, "transferred_bytes": 125_000_000}
    fewer = {"total_ms": 900, "transferred_bytes": 50_000_000, "peer": "godwit-zstd"}
    runs = [RUNS[0], RUNS[3].model_copy(update=sent), RUNS[3].model_copy(update=fewer)]

    met = {each.name: (each.measured, each.is_met) for each in goals(found(runs))}

    assert met["idle-1gbit: the stream, of what the link needs for all bytes"] == ("1.20", False)
    assert met["idle-1gbit: compressed, of what the link needs for all bytes"] == ("0.90", True)


def test_a_case_that_one_of_the_two_did_not_do_is_not_judged() -> None:
    assert [each.name for each in goals(found(RUNS[1:])) if "idle" in each.name] == []


@pytest.mark.parametrize(
    ("outcome", "measured", "is_met"),
    [("done", "moved in 1.1 s", True), ("refused", "refused", True), ("given up", "given up", False)],
)
def test_a_guest_that_dirties_too_fast_is_moved_or_refused(outcome: str, measured: str, is_met: bool) -> None:
    hopeless = run("godwit", stall_ms=60, blackout_ms=10, command_ms=1100, case="dirties-faster-than-the-link")

    seen = goals(found([hopeless.model_copy(update={"outcome": outcome})]))

    assert [(each.measured, each.is_met) for each in seen if each.name.endswith("the end")] == [(measured, is_met)]


def test_a_guest_that_dirties_too_fast_and_is_moved_too_late_is_a_miss() -> None:
    late = run("godwit", stall_ms=60, blackout_ms=10, command_ms=66_500, case="dirties-faster-than-the-link")

    assert [each.is_met for each in goals(found([late])) if each.name.endswith("the end")] == [False]


def test_misses_come_first_and_the_brief_table_has_both() -> None:
    lines = judged(goals(found())).splitlines()[2:]

    assert ["**no**" in line for line in lines] == sorted(("**no**" in line for line in lines), reverse=True)
    assert "| idle-1gbit | 200 → 60 ms (0.30) | 100 → 10 ms (0.10) | 1000 → 1100 ms (1.10) | 1, 1 |" in brief(found())


def test_the_brief_table_says_how_it_ended_where_virsh_moved_nothing() -> None:
    case = "dirties-faster-than-the-link"
    ours = run("godwit", stall_ms=60, blackout_ms=10, command_ms=45_000, case=case)
    theirs = ours.model_copy(update={"peer": "virsh", "outcome": "not within 60 s"})

    assert f"| {case} | - | - | not within 60 s → 45000 ms | 0, 1 |" in brief(found([theirs, ours]))


def test_only_what_lies_between_the_marks_is_replaced() -> None:
    text = "before\n<!-- bench -->\nold\n<!-- /bench -->\nafter <!-- other -->\n"

    assert between(text, "bench", "new\n") == "before\n<!-- bench -->\n\nnew\n\n<!-- /bench -->\nafter <!-- other -->\n"
    with pytest.raises(ValueError, match="other"):
        between(text, "other", "new")

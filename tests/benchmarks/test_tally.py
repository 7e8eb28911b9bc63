"""What `make bench` makes of its runs."""

from __future__ import annotations

import json

import pytest
from benchmarks.tables import document, page, picture
from benchmarks.tally import Run, cases, mean_ratio, ratios


def run(peer: str, stall_ms: float, *, case: str = "idle-1gbit", round: int = 0, outcome: str = "done") -> Run:
    return Run(
        case=case,
        peer=peer,
        round=round,
        outcome=outcome,
        stall_ms=stall_ms,
        blackout_ms=stall_ms / 2,
        warm_up_ms=stall_ms / 4,
        command_ms=1000,
        total_ms=800,
        transferred_bytes=100_000_000,
        lost_frames=1,
        hold_ms=3,
        rto=2,
        resets=0,
        forecast_blackout_ms=stall_ms / 2 + 1,
    )


RUNS = [run("virsh", stall, round=number) for number, stall in enumerate((200, 400, 220))]
RUNS += [run("godwit", stall, round=number) for number, stall in enumerate((100, 80, 120))]


def test_a_case_is_summed_up_by_peer() -> None:
    virsh, godwit = cases(RUNS)
    assert (virsh["peer"], virsh["n"], virsh["lost_frames"], virsh["rto"], virsh["resets"]) == ("virsh", 3, 3, 6, 0)
    assert virsh["stall_ms"] == {"median": 220, "p90": 400, "max": 400}
    assert godwit["above_floor_ms"] == {"median": 25, "p90": 30, "max": 30}


def test_what_was_not_done_counts_as_such_only() -> None:
    (found,) = cases([run("godwit", 100), run("godwit", 9000, round=1, outcome="broken")])
    assert (found["n"], found["outcomes"], found["stall_ms"]["max"]) == (1, {"done": 1, "broken": 1}, 100)


def test_ratios_are_of_medians() -> None:
    summaries = cases([*RUNS, run("qemu", 440)])
    assert ratios(summaries)["idle-1gbit"]["stall_vs_virsh"] == pytest.approx(100 / 220, abs=0.001)
    assert ratios(summaries)["idle-1gbit"]["qemu_stall_vs_virsh"] == 2
    assert ratios(summaries)["idle-1gbit"]["command_vs_virsh"] == 1


def test_the_mean_of_ratios_is_geometric() -> None:
    assert mean_ratio({"a": {"x": 0.25}, "b": {"x": 1.0}, "c": {}}, ["a", "b", "c"], "x") == 0.5
    assert mean_ratio({}, ["a"], "x") is None


def test_the_document_has_what_programs_read() -> None:
    found = json.loads(json.dumps(document(RUNS, {"cpus": 2}, kind="full", rounds=3)))
    wanted = {"case", "peer", "n", "lost_frames", "resets", "rto", "stall_ms", "blackout_ms", "command_ms", "total_ms"}
    assert found["machine"] == {"cpus": 2}
    assert all(wanted <= each.keys() for each in found["cases"])
    assert found["forecast"]["blackout_ms"]["median"] == 1
    assert "stall_vs_virsh" in found["ratios"]["idle-1gbit"]


def test_the_page_has_a_table_per_case_and_the_picture_a_dot_per_run() -> None:
    runs = [*RUNS, run("virsh", 1, outcome="not within 60 s")]
    text = page(document(runs, {"cpus": 2, "qemu": "10.0.2"}, kind="full", rounds=10))
    assert "A full run: 1 cases, 3 to 4 moves of each peer in each (at most 10)." in text
    assert "### idle-1gbit, QEMU 10.0.2\n\n| peer | n | client stall ms |" in text
    assert "| godwit | 3 | 100 / 120 / 120 | 3 / 3 / 3 | 50.0 / 60.0 / 60.0 | 25 / 30 / 30 |" in text
    assert "Not done: virsh: 1 x not within 60 s." in text
    assert picture(RUNS).count("<circle") == 6

"""What `make bench` has still to measure, and which of its figures are published."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from benchmarks.cases import ALL_PEERS, CASES, COMPRESSING, HOPELESS, PEERS, QUICK, Case, Plan, copy_of, home_of
from benchmarks.figures import Runs
from benchmarks.publish import measured, publish
from benchmarks.tables import document
from benchmarks.tally import Run


def plan(file: Path, cases: tuple[Case, ...] = (*CASES, HOPELESS), rounds: int = 2) -> Plan:
    return Plan(cases, rounds, Runs(file))


def test_one_that_was_stopped_goes_on_where_it_was_and_measures_nothing_twice(tmp_path: Path) -> None:
    file = tmp_path / "new" / "runs.jsonl"
    first = plan(file)
    wanted = [each for rate in first.rates() for each in first.left(rate)]
    for case, peer, round in wanted[:30]:
        first.note(Run(case=case.name, peer=peer, round=round))
    with file.open("a") as cut_off:
        cut_off.write('{"case": "idle-unl')

    again = plan(file)

    assert len(wanted) == (2 * len(CASES) + 1) * len(PEERS) + 2 * len(CASES) // 2
    assert len(again.done) == 30
    assert [each for rate in again.rates() for each in again.left(rate)] == wanted[30:]


def test_a_link_over_which_all_was_moved_needs_no_lab_and_no_time(tmp_path: Path) -> None:
    mine = plan(tmp_path / "runs.jsonl")
    for case, peer, round in mine.left("unlimited"):
        mine.note(Run(case=case.name, peer=peer, round=round))

    assert mine.rates() == ["1gbit", "200mbit"]
    assert mine.share("unlimited") == 0
    assert mine.sentence.startswith(f"{len(ALL_PEERS) * 8 + len(PEERS)} moves are left")
    assert mine.share("1gbit") + mine.share("200mbit") == pytest.approx(1)


def test_each_round_begins_with_another_peer_and_the_hopeless_case_has_one(tmp_path: Path) -> None:
    mine = plan(tmp_path / "runs.jsonl", (CASES[0], HOPELESS))

    assert [peer for _, peer, _ in mine.left("unlimited")] == [*PEERS, *PEERS[1:], PEERS[0]]
    assert [round for _, _, round in mine.left("200mbit")] == [0] * len(PEERS)


def test_memory_is_compressed_where_the_link_is_slow_only(tmp_path: Path) -> None:
    mine = plan(tmp_path / "runs.jsonl", rounds=1)

    compressed = [case.name for rate in mine.rates() for case, peer, _ in mine.left(rate) if peer == COMPRESSING]
    assert compressed == [case.name for case in CASES if case.rate == "1gbit"]


def bench(kind: str, cases: list[str]) -> dict[str, Any]:
    return {"kind": kind, "cases": [{"case": each} for each in cases]}


EVERY = [each.name for each in (*CASES, HOPELESS)]


@pytest.mark.parametrize(
    ("full", "quick", "published"),
    [
        (EVERY, list(QUICK), "full"),
        (EVERY[:4], list(QUICK), "quick"),
        (EVERY[:4], None, "full"),
        (None, list(QUICK), "quick"),
    ],
)
def test_a_full_run_is_published_once_it_has_every_case(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, full: list[str] | None, quick: list[str] | None, published: str
) -> None:
    monkeypatch.chdir(tmp_path)
    for kind, cases in (("full", full), ("quick", quick)):
        if cases:
            home = Path("build", home_of(quick=kind == "quick", qemu="10"))
            home.mkdir(parents=True)
            (home / "bench.json").write_text(json.dumps(bench(kind, cases)))

    assert [found["kind"] for _, found in measured()] == [published]


def test_each_qemu_keeps_its_figures_and_the_readme_has_the_installed_ones(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("docs").mkdir()
    for file in (Path("docs/benchmarks.md"), Path("README.md")):
        file.write_text("before\n<!-- bench -->\nold\n<!-- /bench -->\nafter\n")
    for qemu, version in ((None, "7.2.22"), ("10", "10.0.2")):
        home = Path("build", home_of(quick=True, qemu=qemu))
        home.mkdir(parents=True)
        seen = {"stall_ms": 100.0, "blackout_ms": 20.0, "warm_up_ms": 50.0, "command_ms": 900.0}
        runs = [Run(case=each, peer=peer, round=0, **seen) for each in QUICK for peer in PEERS]
        found = document(runs, {"qemu": version}, kind="quick", rounds=1)
        (home / "bench.json").write_text(json.dumps(found))

    published = [each.partition(" ")[0] for each in publish()]
    assert published == ["build/bench-quick/bench.json", "build/bench-quick-qemu10/bench.json"]
    page, readme = Path("docs/benchmarks.md").read_text(), Path("README.md").read_text()
    assert ("#### dirty-1gbit, QEMU 7.2.22\n" in page, "#### dirty-1gbit, QEMU 10.0.2\n" in page) == (True, True)
    assert ("QEMU 7.2.22:" in readme, "10.0.2" in readme, "old" in readme) == (True, False, False)
    assert [copy_of(qemu=qemu) for qemu in (None, "10")] == ["bench.json", "bench-qemu10.json"]

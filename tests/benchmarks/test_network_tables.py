"""What `make bench-network` makes of its runs."""

from __future__ import annotations

import json
from typing import Any

from benchmarks.network_tables import shown, summed


def probe(peer: str, stall_ms: float, *, lost: int = 0, case: str = "priority") -> dict[str, Any]:
    return {
        "case": case,
        "peer": peer,
        "outcome": "done",
        "stall_ms": stall_ms,
        "blackout_ms": 30.0,
        "warm_up_ms": 50.0,
        "sent": 10_000,
        "lost_frames": lost,
        "duplicates": 1,
        "reordered": 0,
        "rto": 0,
        "resets": 0,
        "congestion_control": "cubic",
    }


def bulk(peer: str, sent_again: int, in_vain: int) -> dict[str, Any]:
    counts = {"retransmissions": sent_again, "spurious": in_vain, "rto": 0, "resets": 0}
    return {"case": "bulk", "peer": peer, "outcome": "done", "stall_ms": 90.0, "full_speed_ms": 200.0, **counts}


BROKEN = {"case": "flood", "peer": "", "outcome": "failed", "error": "the lab did not come up"}


def test_each_case_and_peer_is_summed_up_and_failures_are_kept() -> None:
    runs = [probe("godwit", 80.0), probe("godwit", 90.0), probe("qemu", 220.0, lost=60), bulk("qemu", 9, 0), BROKEN]

    result = summed(json.loads(json.dumps(runs)))

    assert [(each["case"], each["peer"], each["n"]) for each in result["cases"]] == [
        ("priority", "godwit", 2),
        ("priority", "qemu", 1),
        ("bulk", "qemu", 1),
    ]
    assert result["cases"][0]["stall_over_ms"] == {"median": 5.0, "p90": 10.0, "max": 10.0}
    assert result["cases"][1]["lost_frames"] == 60
    assert result["failed"] == [BROKEN]
    assert result["ratios"]["priority"] == {"stall_vs_qemu": 0.386}


def test_promises_are_shown_kept_and_broken() -> None:
    kept = shown(summed([probe("godwit", 85.0), bulk("godwit", 2, 2), bulk("qemu", 40, 3)]))
    broken = shown(summed([probe("godwit", 120.0, lost=1), bulk("godwit", 5, 4)]))

    assert "**no**" not in kept
    assert "2 beside 40" in kept
    assert "Congestion control: cubic" in kept
    assert broken.count("**no**") == 3


def test_nothing_measured_is_an_empty_page() -> None:
    assert "promise" in shown(summed([]))


def test_one_queue_or_two_share_a_table() -> None:
    page = shown(summed([probe("godwit", 80.0), bulk("godwit", 0, 0), probe("godwit", 80.0, case="fifo")]))

    lines = page.splitlines()
    places = [
        next(n for n, line in enumerate(lines) if line.startswith(f"| {case} |")) for case in ("priority", "fifo")
    ]
    assert places[1] == places[0] + 1

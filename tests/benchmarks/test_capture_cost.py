"""What recording costs: CPU by frames and by the clock, blackouts with it and without it."""

from __future__ import annotations

from benchmarks.capture_cost import summary


def test_figures() -> None:
    rate = {
        "what": "rate",
        "frames_per_s": 10_000.0,
        "frame_ns": 400.0,
        "recorded_s": 9.0,
        "recording_cpu_s": 0.009,
        "looking_cpu_s": 0.5,
        "memory_mib": 8.52,
    }
    moves = [{"what": what, "blackout_ms": ms} for what, ms in (("on", 10.0), ("off", 12.0), ("on", 14.0))]

    found = summary([rate, *moves])

    assert (found["kernel_cpu_percent"], found["agent_cpu_percent"], found["looking_cpu_s"]) == (0.4, 0.1, 0.5)
    assert found["memory_mib"] == 8.5
    assert (found["blackout_ms_on"]["median"], found["blackout_ms_off"]["median"], found["moves"]) == (12.0, 12.0, 3)


def test_nothing_yet() -> None:
    assert "memory_mib" not in summary([])

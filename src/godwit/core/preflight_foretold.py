"""Rules over what was measured for a move, and what is foretold of it."""

from __future__ import annotations

from godwit.core.case import Case, Found, Rule
from godwit.core.finding import blocker, warning

GIGABIT_BYTES_PER_S = 0.75 * 125e6
"""What a probe of a tenth of a second gets at least from a link of 1 Gbit/s that is not busy."""

LOSSY = 0.01
"""From there on TCP slows down far below what the link carries."""


def stall_is_allowed(case: Case) -> Found:
    """Neither what is predicted nor what was asked for is longer than the owner allows."""
    most_ms = case.move.known.policy.max_stall_ms
    if most_ms is None:
        return
    predicted_ms, asked_ms = case.forecast.blackout_ms, case.move.request.max_blackout_ms
    if predicted_ms is not None and predicted_ms > most_ms:
        evidence, remedy = f"a blackout of {predicted_ms:.0f} ms is predicted", "wait for a quieter hour"
    elif asked_ms > most_ms:
        evidence, remedy = f"--max-blackout allows {asked_ms} ms", f"ask for --max-blackout {most_ms}ms"
    else:
        return
    what = f"{case.vm} must not stand still for more than {most_ms} ms"
    yield blocker("max-stall", what, f"rule of its owner; {evidence}", remedy, overridable=True)


def link_is_fast(case: Case) -> Found:
    """At least 1 Gbit/s, which is the least that migrations are made for; what others leave of it tells nothing."""
    rate = case.measured.link_bytes_per_s
    if 0 < rate < GIGABIT_BYTES_PER_S and not case.move.known.movers:
        yield warning(
            "link-slow",
            f"the migration network between {case.source.host} and {case.destination.host} carries less than 1 Gbit/s",
            f"{rate * 8 / 1e6:.0f} Mbit/s measured, round trip {case.measured.rtt_ms:.1f} ms",
            "look at its cables and switches, and at what else it carries; else move the VM at a quiet time",
        )


def link_is_whole(case: Case) -> Found:
    """It does not lose what it carries."""
    if case.measured.resent >= LOSSY:
        yield warning(
            "link-lossy",
            f"the migration network between {case.source.host} and {case.destination.host} loses frames",
            f"{100 * case.measured.resent:.1f} % of what was sent had to be sent again",
            "look for errors and drops in the counters of its cards and switch ports (`ethtool -S`), at its MTU, and "
            "at what else it carries",
        )


RULES: tuple[Rule, ...] = (stall_is_allowed, link_is_fast, link_is_whole)
"""Worst first."""

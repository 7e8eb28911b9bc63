"""Rules of a VM's owner, and over what the manager remembers."""

from __future__ import annotations

from godwit.core.case import Case, Found, Rule
from godwit.core.finding import blocker, warning

OFTEN = 3
"""Moves of one MAC within three minutes: EVPN freezes one that moves five times in 180 s (RFC 7432, 15.1)."""


def owner_lets_it_move(case: Case) -> Found:
    """No rule of its owner says never."""
    if case.move.known.policy.never_migrate:
        yield blocker(
            "never-migrate",
            f"the owner of {case.vm} does not let it move",
            "rule never-migrate",
            f"ask the owner; `godwit vm set {case.vm} --no-rule never-migrate` removes the rule",
        )


def stays_apart(case: Case) -> Found:
    """No VM at the destination is one from which this one is kept apart."""
    if others := case.move.known.neighbours:
        yield blocker(
            "keep-apart",
            f"{case.vm} is to be kept apart from {', '.join(others)} on {case.destination.host}",
            f"rule {', '.join(f'keep-apart={each}' for each in case.move.known.policy.keep_apart)}",
            "choose another host",
            overridable=True,
        )


def disks_are_its_own(case: Case) -> Found:
    """A disk that several VMs write lets none of them move: reservations and locks stay with the host."""
    shared = [disk.name for disk in case.move.spec.disks if disk.clustered]
    sharers = case.move.known.sharers
    if shared or sharers:
        evidence = f"{', '.join(shared)} is marked as clustered" if shared else f"so has {', '.join(sharers)}"
        yield blocker(
            "clustered-disk",
            f"{case.vm} has a disk that a cluster of VMs writes",
            evidence,
            "fail the cluster over to another member, stop this one, and start it there",
        )


def moves_are_rare(case: Case) -> Found:
    """Switches do not take its address for one that flaps."""
    if case.move.known.recent_moves >= OFTEN:
        yield warning(
            "moved-often",
            f"{case.vm} has moved often",
            f"{case.move.known.recent_moves} times within three minutes; an EVPN fabric freezes an address that "
            "moves five times",
            "wait some minutes",
        )


RULES: tuple[Rule, ...] = (owner_lets_it_move, disks_are_its_own, stays_apart, moves_are_rare)
"""Worst first."""

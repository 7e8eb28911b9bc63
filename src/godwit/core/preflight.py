"""May this VM move there? The rules: facts in, findings out; one rule is one small function.

The rules are in the modules `preflight_*`, each over another kind of fact; docs/checks.md explains each code.
"""

from __future__ import annotations

from collections.abc import Iterable
from types import MappingProxyType

from godwit.core import (
    preflight_disks,
    preflight_files,
    preflight_foretold,
    preflight_hosts,
    preflight_networks,
    preflight_policy,
    preflight_vm,
)
from godwit.core.case import Case, Rule
from godwit.core.finding import Finding, worst_first
from godwit.core.migration import Kind

AT_ONCE: tuple[Rule, ...] = (*preflight_policy.RULES, *preflight_hosts.RULES, *preflight_disks.RULES)
"""They need no looking closer."""
FORETOLD: tuple[Rule, ...] = preflight_foretold.RULES
"""They need a forecast."""
LOOKED: tuple[Rule, ...] = (*AT_ONCE, *preflight_networks.RULES, *preflight_files.RULES, *preflight_vm.RULES)
RULES: tuple[Rule, ...] = (*LOOKED, *FORETOLD)
"""Worst first."""

BETWEEN_HOSTS: tuple[Rule, ...] = (
    *preflight_networks.OF_HOSTS,
    preflight_hosts.qemu_is_not_older,
    preflight_hosts.load_is_bearable,
    preflight_hosts.clocks_agree,
    preflight_foretold.link_is_fast,
    preflight_foretold.link_is_whole,
    preflight_vm.all_was_looked_at,
)
"""They are about two hosts, whatever moves between them."""

OF_STAYING = frozenset({preflight_disks.something_goes})
OF_RESTING = frozenset({preflight_disks.something_goes, preflight_hosts.vm_is_off})
APPLY = MappingProxyType(
    {
        Kind.live: frozenset(RULES) - OF_STAYING - OF_RESTING,
        Kind.storage: OF_STAYING
        | frozenset(preflight_disks.RULES)
        | {preflight_hosts.vm_is_at_source, preflight_policy.disks_are_its_own},
        Kind.cold: OF_RESTING
        | frozenset(preflight_disks.RULES)
        | {
            preflight_policy.owner_lets_it_move,
            preflight_policy.stays_apart,
            preflight_hosts.networks_are_there,
            preflight_hosts.uefi_is_the_same,
        },
    }
)
"""Which of them matter to what kind of move: one that stays meets no other host, one that is off has no memory."""


def find(case: Case, rules: Iterable[Rule] = RULES) -> tuple[Finding, ...]:
    """What the rules say of that case: blockers first, each kind in the order of the rules."""
    idle = frozenset(RULES) - APPLY[case.move.kind]
    found = [finding for rule in rules if rule not in idle for finding in rule(case)]
    return worst_first(found)

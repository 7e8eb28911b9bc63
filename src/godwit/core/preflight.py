"""May this VM move there? The rules: facts in, findings out; one rule is one small function.

The rules are in the modules `preflight_*`, each over another kind of fact; docs/checks.md explains each code.
"""

from __future__ import annotations

from collections.abc import Iterable

from godwit.core import preflight_files, preflight_hosts, preflight_networks, preflight_policy, preflight_vm
from godwit.core.case import Case, Rule
from godwit.core.finding import Finding, Severity

AT_ONCE: tuple[Rule, ...] = (*preflight_policy.RULES, *preflight_hosts.RULES)
"""They need no looking closer."""
RULES: tuple[Rule, ...] = (*AT_ONCE, *preflight_networks.RULES, *preflight_files.RULES, *preflight_vm.RULES)
"""Worst first."""

ORDER = list(Severity)


def find(case: Case, rules: Iterable[Rule] = RULES) -> tuple[Finding, ...]:
    """What the rules say of that case: blockers first, each kind in the order of the rules."""
    found = [finding for rule in rules for finding in rule(case)]
    return tuple(sorted(found, key=lambda each: ORDER.index(each.severity)))

"""What a check found: a value with a stable code, made by the rules of `core.preflight` and shown on every face."""

from __future__ import annotations

from collections.abc import Iterable
from enum import StrEnum

from godwit.core.errors import Refused
from godwit.core.model import Fact


class Severity(StrEnum):
    """What a finding means for a migration."""

    blocker = "blocker"
    """It is refused."""
    warning = "warning"
    """It goes on, and its report says so."""
    note = "note"
    """Worth knowing."""


class Finding(Fact):
    """One thing that a rule found."""

    code: str
    """Stable, explained in docs/checks.md."""
    severity: Severity
    what: str
    """What is so, and where."""
    evidence: str
    """What was seen."""
    remedy: str
    """What to do about it."""
    overridable: bool = False
    """Of a blocker: `--force` goes over it."""

    @property
    def sentence(self) -> str:
        """What, where, what next."""
        return f"{self.what} ({self.evidence}): {self.remedy}"


def blocker(code: str, what: str, evidence: str, remedy: str, *, overridable: bool = False) -> Finding:
    """The VM cannot be moved there; an overridable one says so in its remedy's last words."""
    remedy += ", or take the risk with --force" if overridable else ""
    return Finding(
        code=code, severity=Severity.blocker, what=what, evidence=evidence, remedy=remedy, overridable=overridable
    )


def warning(code: str, what: str, evidence: str, remedy: str) -> Finding:
    """The VM can be moved, and that may hurt."""
    return Finding(code=code, severity=Severity.warning, what=what, evidence=evidence, remedy=remedy)


def note(code: str, what: str, evidence: str, remedy: str) -> Finding:
    """Nothing is wrong."""
    return Finding(code=code, severity=Severity.note, what=what, evidence=evidence, remedy=remedy)


def worst_first(findings: Iterable[Finding]) -> tuple[Finding, ...]:
    """Blockers, then warnings, then notes; those of one kind in the order in which they were found."""
    return tuple(sorted(findings, key=lambda each: list(Severity).index(each.severity)))


def standing(findings: Iterable[Finding], *, force: bool = False) -> list[Finding]:
    """The blockers that stand in the way; with `force` only those that cannot be overridden."""
    blockers = [each for each in findings if each.severity is Severity.blocker]
    return [each for each in blockers if not (force and each.overridable)]


def refuse(findings: Iterable[Finding], *, force: bool = False) -> None:
    """Returns if nothing stands in the way; `Refused` with the first blocker that does, under its code."""
    for first in standing(findings, force=force):
        raise Refused(first.sentence, first.code)

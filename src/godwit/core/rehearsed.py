"""What a rehearsal means: the report of a throw-away VM's move and the checks of the real one, judged together."""

from __future__ import annotations

from collections.abc import Iterator

from godwit.core.checked import Checked, Rehearsal
from godwit.core.errors import GodwitError
from godwit.core.finding import Finding, blocker, standing, warning, worst_first
from godwit.core.report import Report


def judged(
    words: dict[str, str], report: Report | None, checked: Checked | None, *, error: GodwitError | None = None
) -> Rehearsal:
    """The rehearsal, with `words` for who was moved; a probe that never came to its migration has an `error`."""
    own = tuple(_of_the_probe(words, report, error))
    findings = worst_first((*own, *(checked.findings if checked else report.findings if report else ())))
    passed = not standing(findings) and not own
    told = report if report and report.outcome == "done" else None
    return Rehearsal.model_validate(
        words
        | {
            "passed": passed,
            "verdict": _verdict(words, findings, told, passed=passed),
            "findings": findings,
            "migration": report.id if report else None,
            "total_ms": told.total_ms if told else None,
            "blackout_ms": told.blackout_ms if told else None,
            "network": told.network if told else None,
            "forecast": checked.forecast if checked else {},
        }
    )


def _of_the_probe(words: dict[str, str], report: Report | None, error: GodwitError | None) -> Iterator[Finding]:
    source, destination = words["source"], words["destination"]
    if report is None or report.outcome != "done":
        why = error.message if error else (report.error or report.outcome) if report else "nothing was told"
        yield blocker(
            "rehearsal-failed",
            f"a VM like {words['vm']} could not be moved from {source} to {destination}",
            why,
            "mend that and rehearse again",
        )
    elif report.network.learned_at_ms is None and report.network.witnessed_at_ms is not None:
        yield warning(
            "rehearsal-unlearned",
            f"the network did not learn where a VM is that had moved from {source} to {destination}",
            f"its announcements came in by an uplink of {source}, but what {source} sent to it by that uplink did "
            f"not arrive at {destination}",
            f"look at the switch before {source} (learning, static entries); clients reach the VM by the relay "
            "meanwhile, for five minutes",
        )
    elif report.network.announcements and report.network.witnessed_at_ms is None:
        yield warning(
            "rehearsal-unwitnessed",
            f"{source} did not see the announcements that {destination} sent for a VM that had moved there",
            f"{len(report.network.announcements)} were sent, none came in by an uplink of {source}",
            f"look at what swallows RARP and ARP between them, or refuses a new address at the switch port of "
            f"{destination} (port security, ARP suppression); clients reach the VM by the relay meanwhile, for five "
            "minutes",
        )


def _verdict(words: dict[str, str], findings: tuple[Finding, ...], told: Report | None, *, passed: bool) -> str:
    where = f"a VM like {words['vm']} moved from {words['source']} to {words['destination']}"
    figures = f"with a blackout of {told.blackout_ms:.0f} ms" if told and told.blackout_ms is not None else ""
    if passed:
        return f"{where} {figures}, and the network learned its new place".replace("  ", " ")
    worst = findings[0].what
    return f"{where} {figures}, but {worst}" if told else f"rehearsed and failed: {worst}"

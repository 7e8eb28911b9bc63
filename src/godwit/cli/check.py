"""`godwit check`: may this VM move there?"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from godwit.cli.examples import example
from godwit.cli.show import JsonOption, ManagerOption, connected, print_json

if TYPE_CHECKING:
    from godwit.core.finding import Finding

app = typer.Typer()

NOT_MOVABLE = 2
"""The exit status that a migration would have."""


@app.command("check", epilog=example("godwit check web-1 host-b", "godwit check web-1 host-b --json"))
def check(
    vm: Annotated[str, typer.Argument(metavar="VM")],
    host: Annotated[str, typer.Argument(metavar="HOST")],
    json: JsonOption = False,
    manager: ManagerOption = None,
) -> None:
    """Say whether a VM can be moved to a host, and what may hurt; exit status 2 if it cannot."""
    with connected(manager) as client:
        checked = client.check(vm, host)
    if json:
        print_json(checked)
    else:
        print_findings(checked.findings)
        if checked.forecast.total_ms is not None:
            print(f"forecast: {checked.forecast.sentence}")
        print(checked.verdict)
    if not checked.movable:
        raise typer.Exit(NOT_MOVABLE)


def print_findings(findings: Sequence[Finding]) -> None:
    """Each one with its evidence and what to do, the worst first."""
    for each in findings:
        over = " (--force goes over it)" if each.overridable else ""
        print(f"{each.severity:8} {each.code}{over}: {each.what}")
        print(f"         seen: {each.evidence}")
        print(f"         do:   {each.remedy}")

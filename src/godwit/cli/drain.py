"""`godwit host drain`: the plan shown first, then everything moved that can go, and a verdict on each VM."""

from __future__ import annotations

import sys
from contextlib import redirect_stdout
from typing import TYPE_CHECKING

from godwit.cli.crowd import Ended, raise_gravest
from godwit.cli.migrate import follow
from godwit.cli.requests import parse_parallel
from godwit.cli.show import print_json, print_table, warn
from godwit.cli.units import format_ms
from godwit.cli.watch import Detached, Interrupts
from godwit.core.draining import Drain, Leaving
from godwit.core.errors import Failed, Invalid
from godwit.core.model import VmState

if TYPE_CHECKING:
    from godwit.client.client import Client


def drain(client: Client, host: str, *, parallel: str, is_sure: bool, json: bool) -> None:
    """The host is empty of running VMs and takes no new ones; otherwise raises what is left there and why."""
    limit = parse_parallel(parallel)
    _agree(client.drain_plan(host), is_sure=is_sure, json=json)
    with Interrupts() as interrupts:
        begun = client.drain(host, parallel=limit)
        try:
            ended = follow(
                client, {each.migration: each.vm for each in begun.vms if each.migration}, interrupts, json=json
            )
        except Detached as detached:
            warn(f"{host} is being drained: the moves of {detached} go on, see `godwit migration list`")
            return
    verdicts = [*ended, *_staying(begun)]
    if json:
        print_json([each.report for each in ended if each.report])
    else:
        _print_verdicts(begun, ended)
    raise_gravest([each for each in verdicts if each.vm not in _at_rest(begun)])


def _agree(plan: Drain, *, is_sure: bool, json: bool) -> None:
    """The plan was shown, and is wanted; otherwise `Invalid`, and nothing was touched.

    With `--json` standard output is the result's alone, and the plan is that only if nothing else is to come.
    """
    out = sys.stderr if json else sys.stdout
    is_asked = sys.stdin.isatty() and out.isatty()
    if json and not (is_sure or is_asked):
        print_json(plan)
    else:
        with redirect_stdout(out):
            _print_plan(plan)
    if is_sure or not plan.vms:
        return
    if not is_asked:
        raise Invalid(f"nothing was moved: say --yes to drain {plan.host} without being asked")
    print(f"Drain {plan.host}? [y/N] ", end="", file=out, flush=True)
    if not sys.stdin.readline().strip().lower().startswith("y"):
        raise Invalid(f"nothing was moved: {plan.host} was not to be drained")


def _print_plan(plan: Drain) -> None:
    if not plan.vms:
        print(f"{plan.host} has no VMs")
        return
    rows = [(each.vm, each.state, f"{each.memory_mib} MiB", each.destination, each.why) for each in plan.vms]
    print_table(("VM", "STATE", "MEMORY", "GOES TO", "STAYS BECAUSE"), rows)


def _staying(begun: Drain) -> list[Ended]:
    return [Ended(each.vm, error=Failed(_why(each))) for each in begun.vms if not each.migration]


def _why(leaving: Leaving) -> str:
    return leaving.why or "it was not tried"


def _at_rest(begun: Drain) -> set[str]:
    """VMs that do not run are no obstacle to work on the host."""
    return {each.vm for each in begun.vms if each.state is VmState.stopped}


def _print_verdicts(begun: Drain, ended: list[Ended]) -> None:
    """Each VM once: where it is now, and why it is not elsewhere."""
    outcomes = {each.vm: each for each in ended}
    rows = [_verdict(each, outcomes.get(each.vm)) for each in begun.vms]
    if rows:
        print_table(("VM", "VERDICT", "HOST", "TIME", "BLACKOUT", "WHY"), rows)
    left = [row[0] for row in rows if row[1] != "moved"]
    if left:
        print(f"left on {begun.host}: {', '.join(left)}; it takes no VMs until `godwit host activate {begun.host}`")
    else:
        print(f"{begun.host} is empty, and takes no VMs until `godwit host activate {begun.host}`")


def _verdict(
    leaving: Leaving, outcome: Ended | None
) -> tuple[str, str, str | None, str | None, str | None, str | None]:
    if outcome is None:
        return leaving.vm, "stays", None, None, None, _why(leaving)
    report = outcome.report
    if outcome.error or report is None:
        return leaving.vm, report.outcome if report else "failed", None, None, None, str(outcome.error)
    took = format_ms(report.total_ms)
    return leaving.vm, "moved", report.destination, took, format_ms(report.blackout_ms), None

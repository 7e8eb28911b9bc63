"""`godwit rehearse`: a throw-away VM like this one is really moved, before the VM itself is."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from godwit.cli.check import NOT_MOVABLE, print_findings
from godwit.cli.examples import example
from godwit.cli.show import JsonOption, ManagerOption, connected, print_json, print_table, warn

if TYPE_CHECKING:
    from godwit.client.client import Client
    from godwit.core.checked import Rehearsal

app = typer.Typer()

EXAMPLES = example("godwit rehearse web-1 host-b", "godwit rehearse web-1 --all-hosts --html rehearsals.html")


@app.command("rehearse", epilog=EXAMPLES)
def rehearse(
    vm: Annotated[str, typer.Argument(metavar="VM")],
    host: Annotated[str | None, typer.Argument(metavar="HOST | --all-hosts")] = None,
    all_hosts: Annotated[bool, typer.Option("--all-hosts", help="From every host to every other one.")] = False,
    html: Annotated[Path | None, typer.Option(metavar="FILE", help="Write a page with the matrix.")] = None,
    json: JsonOption = False,
    manager: ManagerOption = None,
) -> None:
    """Move a throw-away VM like this one, and say what would happen; exit status 2 if that is nothing good."""
    from godwit.core.errors import Invalid

    if all_hosts == (host is not None):
        raise Invalid("say where to: a HOST, or --all-hosts for every way between all hosts")
    if html:
        _refuse_unwritable(html)
    with connected(manager) as client:
        ways = _ways(client) if host is None else [(None, host)]
        rehearsals = [_rehearse(client, vm, way, is_one=not all_hosts) for way in ways]
    if json:
        print_json(rehearsals if all_hosts else rehearsals[0])
    else:
        _print(rehearsals, is_matrix=all_hosts)
    if html:
        _write(rehearsals, html)
    if not all(each.passed for each in rehearsals):
        raise typer.Exit(NOT_MOVABLE)


def _ways(client: Client) -> Sequence[tuple[str | None, str]]:
    from godwit.core.errors import Refused

    hosts = client.hosts()
    for each in hosts:
        if not each.reachable:
            warn(f"{each.name} is left out: {each.reason}")
    there = [each.name for each in hosts if each.reachable]
    if len(there) < 2:
        raise Refused("fewer than two hosts answer, so there is no way to rehearse: see `godwit host list`", "no-host")
    return [(source, destination) for source in there for destination in there if source != destination]


def _rehearse(client: Client, vm: str, way: tuple[str | None, str], *, is_one: bool) -> Rehearsal:
    """Without a source the VM's own host is meant."""
    from godwit.core.checked import RehearsalRequest

    try:
        rehearsal = client.rehearse(vm, RehearsalRequest(source=way[0], destination=way[1]))
    except KeyboardInterrupt:
        warn("the rehearsal that was under way ends by itself, and its VM is removed")
        raise
    if not is_one:
        warn(rehearsal.verdict)
    return rehearsal


def _print(rehearsals: Sequence[Rehearsal], *, is_matrix: bool) -> None:
    if is_matrix:
        from godwit.client.matrix import cells, names

        hosts, told = names(rehearsals), cells(rehearsals)
        rows = [(here, *(told.get((here, there), "-") for there in hosts)) for here in hosts]
        print_table(("FROM", *(f"TO {host}" for host in hosts)), rows)
        return
    for each in rehearsals:
        print_findings(each.findings)
        if each.network:
            _print_figures(each)
        if each.forecast.total_ms is not None:
            print(f"forecast of {each.vm}: {each.forecast.sentence}")
        print(each.verdict)


def _print_figures(rehearsal: Rehearsal) -> None:
    from godwit.cli.show import print_pairs
    from godwit.cli.units import format_ms

    network = rehearsal.network
    assert network is not None
    seen, learned = network.witnessed_at_ms, network.learned_at_ms
    print_pairs(
        [
            ("moved", f"{rehearsal.probe} in {format_ms(rehearsal.total_ms)}"),
            ("blackout", format_ms(rehearsal.blackout_ms)),
            ("announcements", f"{len(network.announcements)} sent"),
            ("witnessed", f"{format_ms(seen)} after STOP" if seen is not None else "not at all"),
            ("learned", f"{format_ms(learned)} after STOP" if learned is not None else "not at all"),
            ("report", f"godwit migration report {rehearsal.migration}"),
        ]
    )


def _refuse_unwritable(file: Path) -> None:
    """Before rehearsals, which take their time, and not after them."""
    from godwit.core.errors import Refused

    if not file.parent.is_dir():
        raise Refused(f"{file} cannot be written: there is no directory {file.parent}; name another file", "html")


def _write(rehearsals: Sequence[Rehearsal], file: Path) -> None:
    from godwit.client.matrix import matrix_html
    from godwit.core.errors import Refused

    try:
        file.write_text(matrix_html(rehearsals), encoding="utf-8")
    except OSError as error:
        raise Refused(f"{file} cannot be written: {error.strerror}; name another file with --html", "html") from error

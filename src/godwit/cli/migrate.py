"""`godwit migrate`: VMs to another host, without stopping them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated

import typer

from godwit.cli import names
from godwit.cli.examples import example
from godwit.cli.show import JsonOption, ManagerOption, connected, moving, print_json, print_json_text, warn
from godwit.core.migration import Compress

if TYPE_CHECKING:
    from godwit.cli.crowd import Ended
    from godwit.cli.watch import Interrupts
    from godwit.client.migrations import Migrations
    from godwit.core.migration import MigrationRequest
    from godwit.core.report import Report

app = typer.Typer()

EXAMPLES = example(
    "godwit migrate web-1",
    "godwit migrate web-1 host-b --max-blackout 100ms --deadline 5min",
    "godwit migrate web-1,web-2,db-1 host-b --parallel 2 --json",
    "godwit migrate web-1 --datastore fast",
    "godwit migrate web-1 host-b --datastore local --cold",
)


@app.command("migrate", epilog=EXAMPLES)
def migrate(
    vms: Annotated[
        str,
        typer.Argument(
            metavar="VM[,VM...]", help="Whose turn it is, --parallel says.", autocompletion=names.several_vms
        ),
    ],
    host: Annotated[
        str | None,
        typer.Argument(
            metavar="HOST",
            help="None: where most memory is free; with --datastore: as it is.",
            autocompletion=names.hosts,
        ),
    ] = None,
    datastore: Annotated[
        list[str] | None,
        typer.Option(metavar="[DISK=]DATASTORE", help="Where its disks go, or one of them; may be repeated."),
    ] = None,
    format: Annotated[str | None, typer.Option(help="Of the disks that go, raw or qcow2; none: as they are.")] = None,
    cold: Annotated[
        bool, typer.Option("--cold", help="Move it switched off; one that runs is shut down first.")
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", help="With --cold: shut it down without asking.")] = False,
    max_blackout: Annotated[str, typer.Option(help="How long the VM may stand still.")] = "300ms",
    deadline: Annotated[str | None, typer.Option(help="After that the move is undone, such as 5min.")] = None,
    bandwidth: Annotated[str | None, typer.Option(help="Most that the copying may take of the link.")] = None,
    parallel: Annotated[
        str, typer.Option(metavar="auto|N", help="How many move at once; auto: as many as still converge.")
    ] = "auto",
    compress: Annotated[Compress, typer.Option(help="Memory on its way.")] = Compress.auto,
    plaintext: Annotated[bool, typer.Option("--plaintext", help="Send memory and disks unencrypted.")] = False,
    post_copy: Annotated[bool, typer.Option("--post-copy", help="May run there before all memory is.")] = False,
    notify: Annotated[
        str | None, typer.Option(metavar="TIME", help="Tell the guest before and after; wait so long for it.")
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Take the risks that docs/checks.md marks so.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print what it would take; touch nothing.")] = False,
    detach: Annotated[bool, typer.Option("--detach", help="Print the migration's name and do not wait.")] = False,
    json: JsonOption = False,
    manager: ManagerOption = None,
) -> None:
    """Move VMs to another host, their disks to another datastore, or both."""
    from godwit.cli.requests import DiskWords, Goals, migration_requests, parse_parallel
    from godwit.cli.watch import Interrupts

    goals = Goals(max_blackout=max_blackout, deadline=deadline, bandwidth=bandwidth, force=force, notify=notify)
    disks = DiskWords(datastores=datastore or [], format=format, cold=cold, yes=yes)
    stream = {"compress": compress, "plaintext": plaintext, "post_copy": post_copy}
    requests = migration_requests(vms, host, goals, disks, **stream)
    requests = [each.model_copy(update={"parallel": parse_parallel(parallel)}) for each in requests]
    if len(requests) > 1:
        _demand_known(manager, requests)
    if cold and not (yes or dry_run):
        requests = _agreed(manager, requests)
    with moving(manager) as client:
        if dry_run:
            _foresee(client, requests, json=json)
            return
        if detach:
            _detach(client, requests, json=json)
            return
        with Interrupts() as interrupts:
            _move_all(client, requests, interrupts, json=json)


def _demand_known(manager: str | None, requests: list[MigrationRequest]) -> None:
    """`NotFound` if there is no such VM, before any of them moves."""
    with connected(manager) as client:
        for each in requests:
            client.vm(each.vm)


def _agreed(manager: str | None, requests: list[MigrationRequest]) -> list[MigrationRequest]:
    from godwit.cli.cold import agreed

    with connected(manager) as client:
        return [agreed(client, each) for each in requests]


def _foresee(client: Migrations, requests: list[MigrationRequest], *, json: bool) -> None:
    told = [client.foresee(request) for request in requests]
    if json:
        print_json(told if len(told) > 1 else told[0])
        return
    for each in told:
        print(f"{each.vm} {each.source} -> {each.destination}: {each.forecast.sentence}")


def _detach(client: Migrations, requests: list[MigrationRequest], *, json: bool) -> None:
    migrations = [client.migrate(each) for each in requests]
    if json:
        print_json(migrations if len(migrations) > 1 else migrations[0])
    else:
        print("\n".join(each.id for each in migrations))


def _move_all(client: Migrations, requests: list[MigrationRequest], interrupts: Interrupts, *, json: bool) -> None:
    from godwit.cli.watch import Detached

    try:
        if len(requests) == 1:
            _move(client, requests[0], interrupts, json=json)
        else:
            _move_several(client, requests, interrupts, json=json)
    except Detached as detached:
        one, several = f"migration {detached} goes on", f"the moves of {detached} go on"
        where = f"`godwit migration watch {detached}`" if len(requests) == 1 else "`godwit migration list`"
        warn(f"{one if len(requests) == 1 else several}: see {where}")


def _move(client: Migrations, request: MigrationRequest, interrupts: Interrupts, *, json: bool) -> None:
    """The VM has moved, and that is told; otherwise raises why not."""
    from godwit.cli.watch import Watch, display, raise_outcome

    shown, is_terminal = display(json=json)
    id = client.migrate(request).id
    if not json:
        import godwit.core.report  # noqa: F401 - while the hosts are at work, and not when they are done

    watch = Watch(client, id, shown, interrupts, is_terminal)
    migration = watch.to_its_end()
    if json:
        print_json_text(client.report_text(id))
    raise_outcome(migration, is_touched=watch.is_touched)
    if not json:
        print(summary(client.report(id)))


def _move_several(client: Migrations, requests: list[MigrationRequest], interrupts: Interrupts, *, json: bool) -> None:
    """All have moved, and that is told; otherwise raises one error for all that have not."""
    from godwit.cli.crowd import Ended, raise_gravest
    from godwit.core.errors import GodwitError

    begun: dict[str, str] = {}
    refused: list[Ended] = []
    for request in requests:
        try:
            begun[client.migrate(request).id] = request.vm
        except GodwitError as error:
            warn(f"godwit: {error.message}")
            refused.append(Ended(request.vm, error=error))
    ended = [*follow(client, begun, interrupts, json=json), *refused]
    if json:
        print_json([each.report for each in ended if each.report])
    for each in ended:
        if each.error and each not in refused:  # of those it was said at once
            warn(f"godwit: {each.error.message}")
        elif each.report and not json:
            print(summary(each.report))
    raise_gravest(ended)


def follow(client: Migrations, begun: Mapping[str, str], interrupts: Interrupts, *, json: bool) -> list[Ended]:
    """How those migrations (by id, each with its VM) have ended."""
    from godwit.cli.crowd import Crowd
    from godwit.cli.watch import display

    shown, is_terminal = display(json=json, names=begun)
    return Crowd(client, begun, shown, interrupts, is_terminal).to_their_ends() if begun else []


def summary(report: Report) -> str:
    """One line that says what was done."""
    from godwit.cli.units import format_ms

    where = f"moved {report.source} -> {report.destination}"
    if report.source == report.destination:
        where = "stays on " + report.source
    disks = f", {len(report.disks)} disk{'s' if len(report.disks) > 1 else ''} copied" if report.disks else ""
    blackout = "" if report.blackout_ms is None else f", blackout {format_ms(report.blackout_ms)}"
    return f"{report.vm} {where} in {report.total_ms / 1000:.1f} s{disks}{blackout}"

"""`godwit migrate`: VMs to another host, without stopping them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from godwit.cli.examples import example
from godwit.cli.show import JsonOption, ManagerOption, connected, print_json, warn

if TYPE_CHECKING:
    from godwit.cli.watch import Interrupts
    from godwit.client.client import Client
    from godwit.core.migration import MigrationRequest
    from godwit.core.report import Report

app = typer.Typer()

EXAMPLES = example(
    "godwit migrate web-1",
    "godwit migrate web-1 host-b --max-blackout 100ms --deadline 5min",
    "godwit migrate web-1,web-2,db-1 host-b --json",
)


@app.command("migrate", epilog=EXAMPLES)
def migrate(
    vms: Annotated[str, typer.Argument(metavar="VM[,VM...]", help="Moved one after another.")],
    host: Annotated[str | None, typer.Argument(metavar="[HOST]", help="None: where most memory is free.")] = None,
    max_blackout: Annotated[str, typer.Option(help="How long the VM may stand still.")] = "300ms",
    deadline: Annotated[str | None, typer.Option(help="After that the move is undone, such as 5min.")] = None,
    bandwidth: Annotated[str | None, typer.Option(help="Most that memory may take of the link.")] = None,
    force: Annotated[bool, typer.Option("--force", help="Take the risks that docs/checks.md marks so.")] = False,
    detach: Annotated[bool, typer.Option("--detach", help="Print the migration's name and do not wait.")] = False,
    json: JsonOption = False,
    manager: ManagerOption = None,
) -> None:
    """Move running VMs to another host."""
    from godwit.cli.requests import migration_requests
    from godwit.cli.watch import Interrupts

    requests = migration_requests(
        vms, host, max_blackout=max_blackout, deadline=deadline, bandwidth=bandwidth, force=force
    )
    with connected(manager) as client:
        if detach:
            _detach(client, requests, json=json)
            return
        with Interrupts() as interrupts:
            _move_all(client, requests, interrupts, json=json)


def _detach(client: Client, requests: list[MigrationRequest], *, json: bool) -> None:
    from godwit.core.errors import Invalid

    if len(requests) > 1:
        raise Invalid("--detach moves one VM, because several move one after another: give each a command of its own")
    migration = client.migrate(requests[0])
    if json:
        print_json(migration)
    else:
        print(migration.id)


def _move_all(client: Client, requests: list[MigrationRequest], interrupts: Interrupts, *, json: bool) -> None:
    from godwit.cli.watch import Detached

    reports: list[Report] = []
    try:
        for request in requests:
            _move(client, request, interrupts, reports, json=json)
    except Detached as detached:
        warn(f"migration {detached} goes on: see `godwit migration watch {detached}`")
    finally:
        if json and reports:
            print_json(reports if len(requests) > 1 else reports[0])


def _move(
    client: Client, request: MigrationRequest, interrupts: Interrupts, reports: list[Report], *, json: bool
) -> None:
    """The VM has moved, and that is told; otherwise raises why not."""
    from godwit.cli.watch import Watch, display, raise_outcome

    shown, is_terminal = display(json=json)
    id = client.migrate(request).id
    watch = Watch(client, id, shown, interrupts, is_terminal)
    migration = watch.to_its_end()
    report = client.report(id)
    reports.append(report)
    raise_outcome(migration, is_touched=watch.is_touched)
    if not json:
        print(summary(report))


def summary(report: Report) -> str:
    """One line that says what was done."""
    from godwit.cli.units import format_ms

    where = f"{report.vm} moved {report.source} -> {report.destination}"
    return f"{where} in {report.total_ms / 1000:.1f} s, blackout {format_ms(report.blackout_ms)}"

"""`godwit migration`: what moves and what has moved."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import Annotated

import typer

from godwit.cli import names
from godwit.cli.examples import example
from godwit.cli.show import JsonOption, ManagerOption, connected, print_json, print_pairs, print_table, warn
from godwit.core.errors import Refused
from godwit.core.phase import Phase

app = typer.Typer(help="Migrations, under way and ended.", no_args_is_help=True)

Id = Annotated[str, typer.Argument(metavar="ID", autocompletion=names.migrations)]
IdUnderWay = Annotated[str, typer.Argument(metavar="ID", autocompletion=names.migrations_under_way)]


@app.command("list", epilog=example("godwit migration list", "godwit migration list --json"))
def list_migrations(json: JsonOption = False, manager: ManagerOption = None) -> None:
    """All migrations, oldest first."""
    with connected(manager) as client:
        migrations = client.migrations()
    if json:
        print_json(migrations)
        return
    rows = [(each.id, each.vm, each.source, each.destination, each.phase, each.started_at) for each in migrations]
    print_table(("ID", "VM", "SOURCE", "DESTINATION", "PHASE", "STARTED"), rows)


@app.command("show", epilog=example("godwit migration show m1"))
def show_migration(id: Id, json: JsonOption = False, manager: ManagerOption = None) -> None:
    """One migration."""
    with connected(manager) as client:
        migration = client.migration(id)
    if json:
        print_json(migration)
        return
    told = migration.model_dump(mode="json", exclude={"request", "progress"}, exclude_none=True)
    told |= {name: value for name, value in migration if isinstance(value, datetime)}
    goals = migration.request.model_dump(mode="json", exclude={"vm", "destination"}, exclude_none=True)
    print_pairs([*told.items(), *goals.items()])


@app.command("watch", epilog=example("godwit migration watch m1"))
def watch_migration(id: IdUnderWay, manager: ManagerOption = None) -> None:
    """Follow a migration to its end; the exit status is that of `godwit migrate`. Ctrl-C leaves it alone."""
    from godwit.cli.migrate import summary
    from godwit.cli.watch import display, raise_outcome
    from godwit.core.phase import Phase

    shown, _ = display(json=False)
    is_touched = False
    with connected(manager) as client:
        try:
            for event in client.events(id):
                is_touched |= event.phase is Phase.reserving
                shown.show(event)
        except KeyboardInterrupt:
            shown.pause()
            warn(f"migration {id} goes on")
            return
        finally:
            shown.pause()
        raise_outcome(client.migration(id), is_touched=is_touched)
        print(summary(client.report(id)))


@app.command("cancel", epilog=example("godwit migration cancel m1"))
def cancel_migration(id: IdUnderWay, manager: ManagerOption = None) -> None:
    """Undo a migration, while that is possible, and wait until it is undone."""
    from godwit.cli.watch import raise_outcome
    from godwit.core.errors import Cancelled

    with connected(manager) as client:
        client.cancel(id)
        for _ in client.events(id):
            pass
        migration = client.migration(id)
    try:
        raise_outcome(migration, is_touched=True)
    except Cancelled:
        print(f"{id} is cancelled: {migration.vm} runs on {migration.source}")
    else:
        warn(f"{id} was done before it could be cancelled: {migration.vm} runs on {migration.destination}")


@app.command(
    "settle",
    epilog=example(
        "godwit migration settle m1 --runs-on host-b --proof 'host-a burnt, and its journal says given'",
        "godwit migration settle m1 --runs-on none --proof 'both hosts burnt'",
    ),
)
def settle_migration(
    id: Id,
    runs_on: Annotated[str, typer.Option("--runs-on", metavar="HOST|none", help="Where the VM is to run.")],
    proof: Annotated[str | None, typer.Option(help="How you know that the other host cannot run it.")] = None,
    manager: ManagerOption = None,
) -> None:
    """Say where the VM of a migration in doubt runs, when one of its hosts will never answer again."""
    from godwit.cli.settling import ask_proof
    from godwit.core.migration import SettleRequest

    with connected(manager) as client:
        migration = client.migration(id)
        said = proof or ask_proof(migration, runs_on)
        client.settle(id, SettleRequest(runs_on=runs_on, proof=said))
    print(f"{id} is settled: {migration.vm} runs on {runs_on}; see `godwit migration show {id}` for how it goes on")


@app.command("report", epilog=example("godwit migration report m1", "godwit migration report m1 --html m1.html"))
def report_migration(
    id: Id,
    html: Annotated[Path | None, typer.Option(metavar="FILE", help="Write a page for a browser there.")] = None,
    json: JsonOption = False,
    manager: ManagerOption = None,
) -> None:
    """What happened, in numbers."""
    from godwit.cli.report import print_report, write_html

    with connected(manager) as client:
        migration = client.migration(id)
        if not (migration.is_ended or migration.phase is Phase.in_doubt):
            raise Refused(f"{id} is {migration.phase} and has no report yet: see `godwit migration watch {id}`")
        report = client.report(id)
    if html:
        write_html(report, html)
    if json:
        print_json(report)
    elif html:
        print(f"the report of {id} is in {html}")
    else:
        print_report(report)

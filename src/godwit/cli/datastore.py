"""`godwit datastore`: where disks live."""

from __future__ import annotations

from typing import Annotated

import typer

from godwit.cli.show import JsonOption, ManagerOption, connected, print_json, print_pairs, print_table

app = typer.Typer(help="Datastores, where disks live.", no_args_is_help=True)


@app.command("list")
def list_datastores(json: JsonOption = False, manager: ManagerOption = None) -> None:
    """All datastores, and the hosts that see them."""
    with connected(manager) as client:
        datastores = client.datastores()
    if json:
        print_json(datastores)
        return
    rows = [(each.name, each.kind, each.shared, each.hosts, each.path) for each in datastores]
    print_table(("NAME", "KIND", "SHARED", "HOSTS", "PATH"), rows)


@app.command("show")
def show_datastore(
    name: Annotated[str, typer.Argument(metavar="DATASTORE")],
    json: JsonOption = False,
    manager: ManagerOption = None,
) -> None:
    """One datastore."""
    with connected(manager) as client:
        datastore = client.datastore(name)
    if json:
        print_json(datastore)
        return
    print_pairs([(key, value) for key, value in datastore.model_dump().items() if value is not None])

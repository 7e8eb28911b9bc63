"""`godwit datastore`: where disks live."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from godwit.cli import names
from godwit.cli.examples import example
from godwit.cli.show import JsonOption, ManagerOption, connected, print_json, print_pairs, print_table
from godwit.core.wording import size

if TYPE_CHECKING:
    from godwit.core.resources import DatastoreView

app = typer.Typer(help="Datastores, where disks live.", no_args_is_help=True)

DatastoreName = Annotated[str, typer.Argument(metavar="DATASTORE", autocompletion=names.datastores)]


@app.command("list", epilog=example("godwit datastore list"))
def list_datastores(json: JsonOption = False, manager: ManagerOption = None) -> None:
    """All datastores, the hosts that see them, and what is free there."""
    with connected(manager) as client:
        datastores = client.datastores()
    if json:
        print_json(datastores)
        return
    rows = [(each.name, each.kind, each.shared, _free(each), each.disks, each.hosts, each.path) for each in datastores]
    print_table(("NAME", "KIND", "SHARED", "FREE", "DISKS", "HOSTS", "PATH"), rows)


@app.command("show", epilog=example("godwit datastore show default"))
def show_datastore(name: DatastoreName, json: JsonOption = False, manager: ManagerOption = None) -> None:
    """One datastore."""
    with connected(manager) as client:
        datastore = client.datastore(name)
    if json:
        print_json(datastore)
        return
    told = datastore.model_dump(exclude={"hosts", "free_bytes"})
    free = [(f"free on {host}", size(amount)) for host, amount in datastore.free_bytes.items()]
    print_pairs([*told.items(), *free])


@app.command("add", epilog=example("godwit datastore add fast --path /srv/fast"))
def add_datastore(
    name: Annotated[str, typer.Argument(metavar="NAME")],
    path: Annotated[
        str, typer.Option(help="A directory, at one path on all hosts that see it, or iscsi://ADDRESS/TARGET.")
    ],
    shared: Annotated[bool, typer.Option("--shared", help="These hosts see the same files there.")] = False,
    json: JsonOption = False,
    manager: ManagerOption = None,
) -> None:
    """Let VMs have disks in a directory of their hosts."""
    from godwit.cli.requests import datastore_request

    request = datastore_request(name, path, shared=shared)
    with connected(manager) as client:
        datastore = client.add_datastore(request)
    if json:
        print_json(datastore)
    else:
        print(f"{name} is seen by {', '.join(datastore.hosts)}")


@app.command("remove", epilog=example("godwit datastore remove fast"))
def remove_datastore(name: DatastoreName, manager: ManagerOption = None) -> None:
    """Forget a datastore that holds no disk; its files stay."""
    with connected(manager) as client:
        client.remove_datastore(name)
    print(f"{name} is no longer a datastore")


def _free(datastore: DatastoreView) -> str | None:
    """The same on all hosts if it is shared; else the least."""
    return size(min(datastore.free_bytes.values())) if datastore.free_bytes else None

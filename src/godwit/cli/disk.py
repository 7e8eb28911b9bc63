"""`godwit disk`: the disks of all VMs."""

from __future__ import annotations

import typer

from godwit.cli.examples import example
from godwit.cli.show import JsonOption, ManagerOption, connected, print_json, print_table
from godwit.core.wording import size

app = typer.Typer(help="Disks of VMs.", no_args_is_help=True)


@app.callback()
def disk() -> None:
    """Disks of VMs."""


@app.command("list", epilog=example("godwit disk list"))
def list_disks(json: JsonOption = False, manager: ManagerOption = None) -> None:
    """All disks of all VMs."""
    with connected(manager) as client:
        disks = client.disks()
    if json:
        print_json(disks)
        return
    rows = [(each.vm, each.name, size(each.size_bytes), each.format, each.datastore, each.path) for each in disks]
    print_table(("VM", "NAME", "SIZE", "FORMAT", "DATASTORE", "PATH"), rows)

"""`godwit network`: what network cards are attached to."""

from __future__ import annotations

import typer

from godwit.cli.examples import example
from godwit.cli.show import JsonOption, ManagerOption, connected, print_json, print_table

app = typer.Typer(help="Networks that VMs are attached to.", no_args_is_help=True)


@app.callback()
def network() -> None:
    """Networks that VMs are attached to."""


@app.command("list", epilog=example("godwit network list"))
def list_networks(json: JsonOption = False, manager: ManagerOption = None) -> None:
    """All networks, and the hosts that have them."""
    with connected(manager) as client:
        networks = client.networks()
    if json:
        print_json(networks)
        return
    print_table(("NAME", "POOL", "HOSTS"), [(each.name, each.pool, each.hosts) for each in networks])

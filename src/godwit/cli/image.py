"""`godwit image`: what VMs boot."""

from __future__ import annotations

import typer

from godwit.cli.examples import example
from godwit.cli.show import JsonOption, ManagerOption, connected, print_json, print_table

app = typer.Typer(help="Images that VMs boot.", no_args_is_help=True)


@app.callback()
def image() -> None:
    """Images that VMs boot."""


@app.command("list", epilog=example("godwit image list"))
def list_images(json: JsonOption = False, manager: ManagerOption = None) -> None:
    """All images that can be used."""
    with connected(manager) as client:
        images = client.images()
    if json:
        print_json(images)
        return
    print_table(("NAME", "KERNEL", "INITRD"), [(each.name, each.kernel, each.initrd) for each in images])

"""`godwit lab`: a data centre on this machine, made and broken."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from typing import Annotated, NoReturn

import typer
from pydantic import ValidationError
from rich.console import Console

from godwit.core.errors import GodwitError, Invalid
from godwit.core.wording import wrong
from godwit.lab import control, faults, status
from godwit.lab.control import Order, Verb
from godwit.lab.places import find_lab, others_up
from godwit.lab.settings import LinkQueue, Settings, SwitchKind, parse_bridges, parse_qemu

app = typer.Typer(
    help="A data centre on this machine: hosts, switches, a client and a manager in namespaces.",
    epilog="Several labs live side by side: GODWIT_LAB=NAME before a command names one; else it is called lab.",
    no_args_is_help=True,
)


class Switch(StrEnum):
    """On or off, as people type it."""

    on = "on"
    off = "off"


@app.command()
def up(
    hosts: Annotated[int, typer.Option(help="How many hosts, 2 to 8.")] = 2,
    rate: Annotated[
        str, typer.Option(help="Of a migration link, each direction: 1gbit, 100mbit, unlimited.")
    ] = "1gbit",
    link_queue: Annotated[LinkQueue, typer.Option(help="How a migration link orders what waits.")] = LinkQueue.priority,
    switch: Annotated[SwitchKind, typer.Option(help="What the LAN switch is.")] = SwitchKind.bridge,
    migration_mtu: Annotated[int, typer.Option(help="Of the migration network: 1500 is what most have.")] = 1600,
    *,
    bridge: Annotated[
        list[str] | None,
        typer.Option(metavar="[HOST=]KIND", help="What that host, or each, plugs VMs into: bridge, ovs."),
    ] = None,
    qemu: Annotated[list[str] | None, typer.Option(metavar="HOST=DIR", help="An unpacked QEMU for that host.")] = None,
    image: Annotated[
        list[str] | None, typer.Option(metavar="NAME", help="One more image to have ready: tools.")
    ] = None,
    storage_node: Annotated[
        bool, typer.Option("--storage-node", help="An iSCSI target on a network of its own, as datastore san.")
    ] = False,
    daemons: Annotated[bool, typer.Option(hidden=True, help="Start agents and manager.")] = True,
) -> None:
    """Start the lab. Once it is up, the same command changes nothing."""
    from godwit.lab import lifecycle  # knows HTTP and images: a quarter of a second that exec does not need

    with _errors_as_one_sentence():
        images = tuple(dict.fromkeys(["base", *(image or [])]))
        try:
            settings = Settings(
                hosts=hosts,
                rate=rate,
                link_queue=link_queue,
                switch=switch,
                bridges=parse_bridges(bridge or [], hosts),
                migration_mtu=migration_mtu,
                qemu=parse_qemu(qemu or []),
                images=images,
                storage_node=storage_node,
                daemons=daemons,
            )
        except ValidationError as error:
            raise Invalid(_first_complaint(error)) from error
        lab = find_lab()
        is_new = lifecycle.up(lab, settings, lambda line: typer.echo(f"lab {lab.name}: {line}", err=True))
        typer.echo(f"lab {lab.name} is up" if is_new else f"lab {lab.name} is up already")


@app.command()
def down() -> None:
    """End the lab and everything in it; nothing of it is left."""
    from godwit.lab import lifecycle

    with _errors_as_one_sentence():
        lab = find_lab()
        was_up = lifecycle.down(lab)
        typer.echo(f"lab {lab.name} is down" if was_up else f"lab {lab.name} is not up{others_up(lab)}")


@app.command("status")
def show(as_json: Annotated[bool, typer.Option("--json", help="For programs.")] = False) -> None:
    """Show nodes, addresses, daemons and VMs, with process ids as this shell counts them."""
    with _errors_as_one_sentence():
        seen = status.look(find_lab())
        if as_json:
            typer.echo(seen.model_dump_json(indent=2))
        elif not seen.up:
            typer.echo(f"lab {seen.lab} is not up{others_up(find_lab())}")
        else:
            console = Console(soft_wrap=True)
            console.print(status.table(seen))
            if seen.faults:
                console.print(f"faults: {' '.join(seen.faults)}")


@app.command("exec", context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False})
def execute(
    node: Annotated[str, typer.Argument(help="client, lan-switch, manager, host-a, ...")],
    command: Annotated[list[str], typer.Argument(metavar="-- CMD...", help="What to run there.")],
) -> NoReturn:
    """Run a command inside a node; its input, output and exit status are the command's own."""
    with _errors_as_one_sentence():
        lab = find_lab()
        if not _without_dashes(command):
            raise Invalid(f"nothing is to be run in {node}: write godwit lab exec {node} -- COMMAND")
        lab.demand_running()
        words = [*status.look(lab).node(node).enter, "env", "-C", os.getcwd(), *_without_dashes(command)]
        sys.stdout.flush()
        os.execvpe(words[0], words, lab.environment)


_WANTED = {
    "rate": "a rate is written like 1gbit or 100mbit, or is unlimited",
    "hosts": "a lab has 2 to 8 hosts",
}
_FAULTS = " ".join(f"{name}:HOST - {what}." for name, what in faults.NAMES.items())


@app.command(help=f"Break something on purpose, or mend it. {_FAULTS}", short_help="Break something, or mend it.")
def fault(
    name: Annotated[str, typer.Argument(metavar="NAME[:WHERE]", help="Such as migration-link-down:host-b.")],
    switch: Annotated[Switch, typer.Argument(metavar="on|off", help="on breaks, off mends.")],
) -> None:
    """The fault is on, or mended; all others stay as they are."""
    with _errors_as_one_sentence():
        lab = find_lab()
        lab.demand_running()
        answer = control.ask(lab, Order(verb=Verb.fault, fault=name, on=switch is Switch.on))
        typer.echo(f"faults: {' '.join(answer.faults) or 'none'}")


@app.command()
def demo(
    keep: Annotated[bool, typer.Option(help="Leave the lab and the VM as they are at the end.")] = False,
    migrations: Annotated[int, typer.Option(min=1, help="How often the VM moves.")] = 2,
    out: Annotated[Path, typer.Option(help="Where the report goes.")] = Path("build/demo"),
) -> None:
    """Move a VM with a real Redis in it there and back under traffic, and prove that no connection broke."""
    from godwit.lab.demo import demo as play

    with _errors_as_one_sentence():
        raise typer.Exit(play(keep=keep, migrations=migrations, out=out))


@app.command(hidden=True)
def daemon(node: str, switch: Annotated[Switch, typer.Argument(metavar="on|off")]) -> None:
    """Start that node's agent or manager, which answers then, or end it and keep it down."""
    with _errors_as_one_sentence():
        lab = find_lab()
        settings = lab.demand_running().settings
        verb = Verb.start_daemon if switch is Switch.on else Verb.stop_daemon
        answer = control.ask(lab, Order(verb=verb, node=node))
        if switch is Switch.on:
            from godwit.lab.answering import wait_answering_again

            wait_answering_again(lab, settings, node, answer)
        typer.echo(f"the daemon of {node} is {'up' if switch is Switch.on else 'down'}")


def _without_dashes(command: list[str]) -> list[str]:
    return command[1:] if command[:1] == ["--"] else command


def _first_complaint(error: ValidationError) -> str:
    first = error.errors()[0]
    if not first["loc"]:
        return f"{wrong(first)}; see `godwit lab up --help`"
    name = str(first["loc"][0])
    what = _WANTED.get(name, f"{wrong(first)}; see `godwit lab up --help`")
    return f"--{name.replace('_', '-')} {first['input']}: {what}"


@contextmanager
def _errors_as_one_sentence() -> Iterator[None]:
    try:
        yield
    except GodwitError as error:
        typer.echo(f"godwit: {error.message}", err=True)
        raise typer.Exit(error.exit_status) from error


if __name__ == "__main__":
    app()

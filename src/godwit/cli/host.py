"""`godwit host`: who there is, who answers, and who is emptied."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from godwit.cli import names
from godwit.cli.examples import example
from godwit.cli.show import JsonOption, ManagerOption, connected, print_json, print_pairs, print_table

if TYPE_CHECKING:
    from godwit.core.resources import HostState

app = typer.Typer(help="Hosts: who there is, and who answers.", no_args_is_help=True)

HostName = Annotated[str, typer.Argument(metavar="HOST", autocompletion=names.hosts)]


@app.command("list", epilog=example("godwit host list"))
def list_hosts(json: JsonOption = False, manager: ManagerOption = None) -> None:
    """All hosts, asked now."""
    with connected(manager) as client:
        hosts = client.hosts()
    if json:
        print_json(hosts)
        return
    print_table(("NAME", "STATE", "FREE MIB", "VMS", "QEMU", "ADDRESS"), [_row(host) for host in hosts])


@app.command("show", epilog=example("godwit host show host-a"))
def show_host(name: HostName, json: JsonOption = False, manager: ManagerOption = None) -> None:
    """One host and what it told."""
    with connected(manager) as client:
        host = client.host(name, arrivals=True)
    if json:
        print_json(host)
        return
    told: list[tuple[str, object]] = [
        ("name", host.name),
        ("address", host.address),
        ("state", _state(host)),
        ("reason", host.reason),
    ]
    if facts := host.facts:
        told.extend(
            [
                ("memory", f"{facts.memory_free_mib} MiB of {facts.memory_mib} MiB free"),
                ("cpus", facts.cpus),
                ("networks", facts.networks),
                ("datastores", [each.name for each in facts.datastores]),
                ("vms", [f"{vm.name} ({vm.state})" for vm in facts.vms]),
                ("migration address", facts.migration_address),
                ("agent", f"{facts.agent_version}, process {facts.agent_pid}"),
                ("qemu", f"{facts.qemu.version}, {facts.qemu.accelerator}"),
                ("newest machine type", facts.qemu.machines[0] if facts.qemu.machines else None),
                *((each.vm, "could come" if each.movable else f"no: {each.why_not}") for each in host.arrivals or ()),
            ]
        )
    print_pairs(told)


@app.command("drain", epilog=example("godwit host drain host-a", "godwit host drain host-a --yes --parallel 2"))
def drain_host(
    name: HostName,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    parallel: Annotated[str, typer.Option(metavar="auto|N", help="How many move at once.")] = "auto",
    json: JsonOption = False,
    manager: ManagerOption = None,
) -> None:
    """Move everything that can go to other hosts; nothing new is placed there until `activate`."""
    from godwit.cli.drain import drain

    with connected(manager) as client:
        drain(client, name, parallel=parallel, is_sure=yes, json=json)


@app.command("activate", epilog=example("godwit host activate host-a"))
def activate_host(name: HostName, json: JsonOption = False, manager: ManagerOption = None) -> None:
    """Take a drained host back into service."""
    with connected(manager) as client:
        host = client.activate(name)
    if json:
        print_json(host)
    else:
        print(f"{name} takes VMs again")


def _state(host: HostState) -> str:
    if not host.reachable:
        return "unreachable"
    return "draining" if host.draining else "reachable"


def _row(host: HostState) -> tuple[object, ...]:
    facts = host.facts
    told = (facts.memory_free_mib, len(facts.vms), facts.qemu.version) if facts else (None, None, None)
    return (host.name, _state(host), *told, host.address)

"""`godwit vm`: made, started, stopped, shown, forgotten, and their consoles."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from godwit.cli.show import JsonOption, ManagerOption, connected, print_json, print_pairs, print_table, warn

if TYPE_CHECKING:
    from godwit.core.resources import VmView

app = typer.Typer(help="Virtual machines.", no_args_is_help=True)

VmName = Annotated[str, typer.Argument(metavar="NAME")]


@app.command("create")
def create_vm(
    name: VmName,
    image: Annotated[str, typer.Option(help="What it boots.")] = "base",
    memory: Annotated[str, typer.Option(help="Such as 512MiB or 2GiB.")] = "512MiB",
    cpus: Annotated[int, typer.Option(help="How many virtual CPUs.")] = 1,
    network: Annotated[list[str] | None, typer.Option(help="One network card each.")] = None,
    ip: Annotated[str | None, typer.Option(metavar="CIDR", help="Of the first card; none: from the pool.")] = None,
    host: Annotated[str | None, typer.Option(help="Where it starts; none: where most memory is free.")] = None,
    json: JsonOption = False,
    manager: ManagerOption = None,
) -> None:
    """Make a VM and start it."""
    from godwit.cli.requests import vm_request

    words = {"name": name, "image": image, "cpus": cpus, "host": host}
    request = vm_request(words, memory=memory, networks=network or [], ip=ip)
    with connected(manager) as client:
        vm = client.create_vm(request)
    _told(vm, json, f"{vm.name} runs on {vm.host}" + _addresses(vm))


@app.command("start")
def start_vm(name: VmName, json: JsonOption = False, manager: ManagerOption = None) -> None:
    """Start a VM that is stopped or has crashed."""
    with connected(manager) as client:
        vm = client.start_vm(name)
    _told(vm, json, f"{vm.name} runs on {vm.host}")


@app.command("stop")
def stop_vm(
    name: VmName,
    grace: Annotated[str, typer.Option(help="How long it may take by itself; 0s: off at once.")] = "30s",
    json: JsonOption = False,
    manager: ManagerOption = None,
) -> None:
    """Stop a VM: ask it, and after the grace switch it off."""
    from godwit.cli.units import parse_s

    grace_s = 0.0 if grace in {"0", "0s"} else parse_s(grace)
    with connected(manager) as client:
        vm = client.stop_vm(name, grace_s=grace_s)
    _told(vm, json, f"{vm.name} is stopped")


@app.command("list")
def list_vms(json: JsonOption = False, manager: ManagerOption = None) -> None:
    """All VMs."""
    with connected(manager) as client:
        vms = client.vms()
    if json:
        print_json(vms)
        return
    rows = [(vm.name, vm.state, vm.host, f"{vm.memory_mib} MiB", vm.cpus, _ips(vm)) for vm in vms]
    print_table(("NAME", "STATE", "HOST", "MEMORY", "CPUS", "IP"), rows)


@app.command("show")
def show_vm(name: VmName, json: JsonOption = False, manager: ManagerOption = None) -> None:
    """One VM."""
    with connected(manager) as client:
        vm = client.vm(name)
    if json:
        print_json(vm)
        return
    nics = [f"{nic.network} {nic.mac} {nic.ip or '-'} {nic.ip6 or ''}".rstrip() for nic in vm.nics]
    told = vm.model_dump(exclude={"nics", "disks"}, exclude_none=True)
    print_pairs([*told.items(), *((f"nic {number}", nic) for number, nic in enumerate(nics))])


@app.command("delete")
def delete_vm(name: VmName, manager: ManagerOption = None) -> None:
    """Forget a VM that is stopped."""
    with connected(manager) as client:
        client.delete_vm(name)
    print(f"{name} is deleted")


@app.command("console")
def open_console(name: VmName, manager: ManagerOption = None) -> None:
    """The serial console; leave it with Ctrl-]."""
    from godwit.cli.terminal import join

    with connected(manager) as client, client.console(name) as console:
        join(console, greeting=f"this is the console of {name}: leave it with Ctrl-]")
    warn(f"\nleft the console of {name}")


def _told(vm: VmView, json: bool, text: str) -> None:
    if json:
        print_json(vm)
    else:
        print(text)


def _ips(vm: VmView) -> list[str]:
    return [str(each.ip) for nic in vm.nics for each in (nic.ip, nic.ip6) if each]


def _addresses(vm: VmView) -> str:
    ips = _ips(vm)
    return f" with {', '.join(ips)}" if ips else ""

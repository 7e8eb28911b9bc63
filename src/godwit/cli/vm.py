"""`godwit vm`: made, started, stopped, shown, forgotten, and their consoles."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from godwit.cli import names
from godwit.cli.examples import example
from godwit.cli.show import JsonOption, ManagerOption, connected, print_json, print_pairs, print_table, warn

if TYPE_CHECKING:
    from godwit.core.resources import VmView

app = typer.Typer(help="Virtual machines.", no_args_is_help=True)

VmName = Annotated[str, typer.Argument(metavar="NAME", autocompletion=names.vms)]


@app.command(
    "create",
    epilog=example(
        "godwit vm create web-1 --memory 2GiB --cpus 2 --network lan",
        "godwit vm create db-1 --image /srv/images/debian-12.qcow2 --network lan --ssh-key ~/.ssh/id_ed25519.pub",
    ),
)
def create_vm(
    context: typer.Context,
    name: Annotated[str | None, typer.Argument(metavar="NAME")] = None,
    file: Annotated[Path | None, typer.Option(help="All of it, in YAML: see `godwit vm schema`.")] = None,
    image: Annotated[
        str, typer.Option(help="What it boots: an image's name, or a disk image's path.", autocompletion=names.images)
    ] = "base",
    memory: Annotated[str, typer.Option(help="Such as 512MiB or 2GiB.")] = "512MiB",
    cpus: Annotated[int, typer.Option(help="How many virtual CPUs.")] = 1,
    cpu_model: Annotated[str | None, typer.Option(help="Such as Nehalem; none: the best that all hosts have.")] = None,
    network: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME[=CIDR]", help="A network card; may be repeated.", autocompletion=names.networks),
    ] = None,
    ip: Annotated[str | None, typer.Option(metavar="CIDR", help="Of the first card; none: from the pool.")] = None,
    disk: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME:SIZE[:DATASTORE][:FORMAT][:preallocated]",
            help="An empty disk, raw or qcow2, thin if nothing else is said; may be repeated.",
        ),
    ] = None,
    firmware: Annotated[str, typer.Option(help="bios or uefi; only with a disk image.")] = "bios",
    disk_size: Annotated[str | None, typer.Option(help="What the disk image's copy is grown to.")] = None,
    datastore: Annotated[
        str | None, typer.Option(help="Where the disk image's copy lies.", autocompletion=names.datastores)
    ] = None,
    link: Annotated[bool, typer.Option("--link", help="Keep only what differs from the disk image.")] = False,
    cloud_init: Annotated[bool, typer.Option(help="Tell cloud-init in the disk image's guest who it is.")] = True,
    user: Annotated[str | None, typer.Option(help="Who may log in there; none: godwit.")] = None,
    ssh_key: Annotated[
        list[Path] | None, typer.Option(metavar="FILE", help="A public key to log in with; may be repeated.")
    ] = None,
    gateway: Annotated[list[str] | None, typer.Option(metavar="ADDRESS", help="Of the guest; may be repeated.")] = None,
    name_server: Annotated[
        list[str] | None, typer.Option(metavar="ADDRESS", help="Of the guest; may be repeated.")
    ] = None,
    rule: Annotated[
        list[str] | None,
        typer.Option(metavar="RULE", help="never-migrate, keep-apart=GROUP, max-stall=TIME; may be repeated."),
    ] = None,
    host: Annotated[
        str | None, typer.Option(help="Where it starts; none: where most memory is free.", autocompletion=names.hosts)
    ] = None,
    json: JsonOption = False,
    manager: ManagerOption = None,
) -> None:
    """Make a VM and start it."""
    from godwit.cli.requests import ImageWords, vm_request
    from godwit.cli.spec import read_spec

    if file:
        _refuse_more_words(context)
        request = read_spec(file)
    else:
        told = {
            "name": _named(name),
            "cpus": cpus,
            "cpu_model": cpu_model,
            "firmware": firmware,
            "host": host,
            "ip": ip,
        }
        told |= {"rules": rule or []}
        words = ImageWords(
            image=image,
            size=disk_size,
            datastore=datastore,
            link=link,
            cloud_init=cloud_init,
            user=user,
            ssh_keys=ssh_key or [],
            gateways=gateway or [],
            name_servers=name_server or [],
        )
        request = vm_request(told, memory=memory, networks=network or [], disks=disk or [], image=words)
    with connected(manager) as client:
        vm = client.create_vm(request)
    _told(vm, json, f"{vm.name} {'runs on' if request.start else 'is made on'} {vm.host}" + _addresses(vm))


@app.command("schema", epilog=example("godwit vm schema"))
def print_schema() -> None:
    """What a file for `vm create --file` may hold, as JSON Schema."""
    from json import dumps

    from godwit.cli.spec import schema

    print(dumps(schema(), indent=2))


@app.command("set", epilog=example("godwit vm set db-1 --rule max-stall=100ms --no-rule never-migrate"))
def set_vm(
    name: VmName,
    rule: Annotated[list[str] | None, typer.Option(metavar="RULE", help="Add it; may be repeated.")] = None,
    no_rule: Annotated[list[str] | None, typer.Option(metavar="RULE", help="Remove it; may be repeated.")] = None,
    json: JsonOption = False,
    manager: ManagerOption = None,
) -> None:
    """Change what a VM's owner allows: never-migrate, keep-apart=GROUP, max-stall=TIME."""
    from godwit.core.resources import VmChange

    removed = set(no_rule or [])
    with connected(manager) as client:
        kept = [each for each in client.vm(name).rules if not removed & {each, each.partition("=")[0]}]
        vm = client.change_vm(name, VmChange(rules=(*kept, *(rule or []))))
    _told(vm, json, f"{vm.name} has {', '.join(vm.rules) or 'no rules'}")


@app.command("start", epilog=example("godwit vm start web-1"))
def start_vm(name: VmName, json: JsonOption = False, manager: ManagerOption = None) -> None:
    """Start a VM that is stopped or has crashed."""
    with connected(manager) as client:
        vm = client.start_vm(name)
    _told(vm, json, f"{vm.name} runs on {vm.host}")


@app.command("stop", epilog=example("godwit vm stop web-1 --grace 2min"))
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


@app.command("list", epilog=example("godwit vm list", "godwit vm list --json"))
def list_vms(json: JsonOption = False, manager: ManagerOption = None) -> None:
    """All VMs."""
    with connected(manager) as client:
        vms = client.vms()
    if json:
        print_json(vms)
        return
    rows = [(vm.name, _state(vm), vm.host, f"{vm.memory_mib} MiB", vm.cpus, _ips(vm)) for vm in vms]
    print_table(("NAME", "STATE", "HOST", "MEMORY", "CPUS", "IP"), rows)
    for host in sorted({str(vm.host) for vm in vms if not vm.host_answers}):
        warn(f"{host} does not answer: what is said of its VMs is what it said last, see `godwit host show {host}`")


@app.command("show", epilog=example("godwit vm show web-1"))
def show_vm(name: VmName, json: JsonOption = False, manager: ManagerOption = None) -> None:
    """One VM."""
    from godwit.core.wording import size

    with connected(manager) as client:
        vm = client.vm(name, destinations=True)
    if json:
        print_json(vm)
        return
    nics = [f"{nic.network} {nic.mac} {nic.ip or '-'} {nic.ip6 or ''}".rstrip() for nic in vm.nics]
    told = vm.model_dump(exclude={"nics", "disks", "destinations", "host_answers"}, exclude_none=True)
    if not vm.host_answers:
        told["state"] = f"{vm.state} when {vm.host} answered last; now it does not"
    disks = [f"{each.name} {size(each.size_bytes)} {each.datastore} {each.path}" for each in vm.disks]
    numbered = [
        (f"{kind} {n}", text) for kind, texts in (("nic", nics), ("disk", disks)) for n, text in enumerate(texts)
    ]
    can = [(each.host, "can go there" if each.movable else f"no: {each.why_not}") for each in vm.destinations or ()]
    print_pairs([*told.items(), *numbered, *((f"to {host}", words) for host, words in can)])


@app.command("delete", epilog=example("godwit vm delete web-1"))
def delete_vm(name: VmName, manager: ManagerOption = None) -> None:
    """Forget a VM that is stopped, and remove its disks."""
    from godwit.core.wording import size

    with connected(manager) as client:
        disks = [disk for disk in client.disks() if disk.vm == name]
        client.delete_vm(name)
    print(f"{name} is deleted")
    for disk in disks:
        print(f"disk {disk.name} ({size(disk.size_bytes)}) is removed: {disk.path}")


@app.command("console", epilog=example("godwit vm console web-1"))
def open_console(name: VmName, manager: ManagerOption = None) -> None:
    """The serial console; leave it with Ctrl-]; without a terminal it ends with its input."""
    from godwit.cli.terminal import join

    with connected(manager) as client, client.console(name) as console:
        join(console, greeting=f"this is the console of {name}: leave it with Ctrl-]")
    warn(f"\nleft the console of {name}")


def _state(vm: VmView) -> str:
    """With a question mark if its host does not answer."""
    return vm.state if vm.host_answers else f"{vm.state}?"


def _refuse_more_words(context: typer.Context) -> None:
    from godwit.core.errors import Invalid

    own = {"file", "json", "manager"}
    given = [
        name for name in context.params if name not in own and str(context.get_parameter_source(name)).endswith("LINE")
    ]
    if given:
        raise Invalid(f"with --file all is said in the file: leave out {', '.join(given)}")


def _named(name: str | None) -> str:
    from godwit.core.errors import Invalid

    if name is None:
        raise Invalid(
            "the VM has no name: write `godwit vm create NAME`, or describe it in a file and name that: --file"
        )
    return name


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

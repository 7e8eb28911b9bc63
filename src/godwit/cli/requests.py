"""What people write on the command line, as the requests of the REST API."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from pydantic import ValidationError

from godwit.cli.units import parse_bytes_per_s, parse_mib, parse_ms, parse_s, parse_size_bytes
from godwit.core.errors import Invalid
from godwit.core.migration import MigrationRequest
from godwit.core.value import DiskFormat
from godwit.core.wording import place, wrong

if TYPE_CHECKING:
    from godwit.core.model import Datastore
    from godwit.core.resources import VmRequest

T = TypeVar("T")


@dataclass(frozen=True, kw_only=True)
class ImageWords:
    """What the command line says of a disk image and of the guest in it."""

    image: str
    size: str | None
    datastore: str | None
    link: bool
    cloud_init: bool
    user: str | None
    ssh_keys: Sequence[Path]
    gateways: Sequence[str]
    name_servers: Sequence[str]


def vm_request(
    words: dict[str, Any], *, memory: str, networks: Sequence[str], disks: Sequence[str], image: ImageWords
) -> VmRequest:
    """A VM to make; `Invalid` says which word is wrong."""
    from godwit.core.resources import VmRequest

    nics = [_nic(each) for each in networks]
    if ip := words.pop("ip"):
        if not nics:
            raise Invalid("--ip needs a network card: name its network with --network")
        if "ip" in nics[0]:
            raise Invalid("--ip and --network NAME=CIDR both name an address of the first card: leave one out")
        nics[0]["ip"] = ip
    more = {"memory_mib": parse_mib(memory), "nics": nics, "disks": [_disk(each) for each in disks]}
    return _made(lambda: VmRequest.model_validate({**words, **more, **_from_image(image)}))


def _nic(text: str) -> dict[str, str]:
    """`lan`, `lan=10.90.0.60/24` or `lan=10.90.0.60/24,fd00::60/64`."""
    network, _, addresses = text.partition("=")
    found = {"ip6" if ":" in each else "ip": each for each in addresses.split(",") if each}
    if len(found) < len([each for each in addresses.split(",") if each]):
        raise Invalid(f"{text!r} names two addresses of one kind: a card has one IPv4 and one IPv6 address")
    return {"network": network, **found}


def _disk(text: str) -> dict[str, Any]:
    """`NAME:SIZE[:DATASTORE][:FORMAT][:preallocated]`."""
    name, size, *more = text.split(":") if ":" in text else (text, "")
    full = {"preallocated": True} if more and more[-1] == "preallocated" else {}
    more = more[:-1] if full else more
    kinds = ["format" if each in set(DiskFormat) else "datastore" for each in more]
    if not size or len(kinds) > len(set(kinds)):
        raise Invalid(
            f"{text!r} is no disk: write NAME:SIZE[:DATASTORE][:FORMAT][:preallocated], such as data:10GiB or "
            "data:1GiB:nfs"
        )
    return {"name": name, "size_bytes": parse_size_bytes(size), **dict(zip(kinds, more, strict=True)), **full}


def _from_image(words: ImageWords) -> dict[str, Any]:
    """A path is a disk image, another word the name of an image."""
    path = words.image if "/" not in words.image else str(Path(words.image).expanduser().absolute())
    root = _said(
        size_bytes=parse_size_bytes(words.size) if words.size else None,
        datastore=words.datastore,
        link=words.link,
    )
    told = _said(
        user=words.user,
        ssh_keys=[_public_key(each) for each in words.ssh_keys],
        gateways=words.gateways,
        name_servers=words.name_servers,
    )
    if told and not words.cloud_init:
        raise Invalid("--no-cloud-init leaves nobody to tell of users, keys, gateways or name servers: leave one out")
    wants_cloud_init = bool(told) or ("/" in path and words.cloud_init)
    return {
        "image": path,
        **({"root_disk": root} if root else {}),
        **({"cloud_init": told} if wants_cloud_init else {}),
    }


def _said(**words: object) -> dict[str, object]:
    """Those that were said at all."""
    return {key: value for key, value in words.items() if value}


def _public_key(path: Path) -> str:
    try:
        text = path.expanduser().read_text()
    except (OSError, UnicodeDecodeError) as error:
        why = getattr(error, "strerror", "it is no text")
        raise Invalid(f"the SSH key {path} cannot be read: {why}; name another with --ssh-key") from error
    if "PRIVATE KEY" in text:
        raise Invalid(f"{path} is a private key, which no guest may have: name its public half, {path}.pub")
    return text.strip()


def datastore_request(name: str, path: str, *, shared: bool) -> Datastore:
    """A datastore to add; `Invalid` says which word is wrong."""
    from godwit.core.model import Datastore

    is_iscsi = path.startswith("iscsi://")
    return _made(
        lambda: Datastore(name=name, kind="iscsi" if is_iscsi else "directory", path=path, shared=shared or is_iscsi)
    )


@dataclass(frozen=True, kw_only=True)
class Goals:
    """What the command line says of how a VM shall be moved."""

    max_blackout: str
    deadline: str | None
    bandwidth: str | None
    force: bool = False
    notify: str | None = None


@dataclass(frozen=True, kw_only=True)
class DiskWords:
    """What the command line says of disks, and of a VM that is off meanwhile."""

    datastores: Sequence[str] = ()
    format: str | None = None
    cold: bool = False
    yes: bool = False


def migration_requests(
    vms: str, host: str | None, goals: Goals, disks: DiskWords | None = None, **stream: object
) -> list[MigrationRequest]:
    """One request for each VM of a list with commas, `stream` in it as it is; `Invalid` says which word is wrong."""
    words = {
        "destination": host,
        "max_blackout_ms": parse_ms(goals.max_blackout),
        "deadline_s": parse_s(goals.deadline) if goals.deadline else None,
        "bandwidth_bytes_per_s": parse_bytes_per_s(goals.bandwidth) if goals.bandwidth else None,
        "notify_s": parse_s(goals.notify) if goals.notify else None,
        "force": goals.force,
        **stream,
        **_disk_goals(disks or DiskWords()),
    }
    names = vms.split(",")
    if "" in names:
        raise Invalid(f"{vms!r} leaves a name empty: write VM, or several with commas between them: VM,VM")
    if len(set(names)) < len(names):
        raise Invalid(f"{vms!r} names a VM twice: name each one once")
    return [_made(lambda name=name: MigrationRequest(vm=name, **words)) for name in names]  # type: ignore[misc]


def _disk_goals(words: DiskWords) -> dict[str, Any]:
    """`DATASTORE` for all, `DISK=DATASTORE` for one."""
    for each in words.datastores:
        if "" in each.split("=", 1):
            raise Invalid(f"--datastore {each!r} leaves a name empty: write DATASTORE, or DISK=DATASTORE for one disk")
    single = dict(each.split("=", 1) for each in words.datastores if "=" in each)
    all_of_them = [each for each in words.datastores if "=" not in each]
    if len(all_of_them) > 1:
        raise Invalid(f"--datastore names {' and '.join(all_of_them)} for all disks: name one, or write DISK=DATASTORE")
    if words.format and not words.datastores:
        raise Invalid("--format is for disks that go somewhere: say where with --datastore")
    if words.yes and not words.cold:
        raise Invalid("--yes is for a VM that is shut down to be moved: say --cold too")
    return {
        "datastore": all_of_them[0] if all_of_them else None,
        "disks": single,
        "format": words.format,
        "cold": words.cold,
        "shut_down": words.yes,
    }


def parse_parallel(text: str) -> int | None:
    """`auto` or a number from 1 on."""
    if text == "auto":
        return None
    if not (text.isascii() and text.isdigit() and 1 <= int(text) <= 64):
        raise Invalid(f"{text!r} is not how many may move at once: write auto, or a number from 1 to 64")
    return int(text)


def _made(make: Callable[[], T]) -> T:
    try:
        return make()
    except ValidationError as error:
        first = error.errors()[0]
        where = re.sub(r"\.[0-9]+", "", place(first["loc"]))
        option, unit = _OPTIONS.get(where, (where, ""))
        value = f"{first['input']:g}" if isinstance(first["input"], float) else repr(first["input"])
        raise Invalid(f"{option} {value}{unit}: {wrong(first)}{unit}") from None


_OPTIONS = {
    "memory_mib": ("--memory", "MiB"),
    "cpus": ("--cpus", ""),
    "max_blackout_ms": ("--max-blackout", "ms"),
    "notify_s": ("--notify", "s"),
    "cloud_init.user": ("--user", ""),
    "cloud_init.ssh_keys": ("--ssh-key", ""),
    "cloud_init.gateways": ("--gateway", ""),
    "cloud_init.name_servers": ("--name-server", ""),
    "root_disk.datastore": ("--datastore", ""),
    "nics.network": ("--network", ""),
    "disks.name": ("--disk", ""),
    "disks.datastore": ("--disk", ""),
    "host": ("--host", ""),
}
"""What a field of a request is called on the command line, and the unit that it is told in there."""

"""The shapes of the REST API: what `--json` prints and what `client` returns."""

from __future__ import annotations

from datetime import datetime
from ipaddress import IPv4Address, IPv6Address
from typing import Annotated, Any

from pydantic import Field, StringConstraints

from godwit.core.checked import Candidate
from godwit.core.model import (
    Accelerator,
    Datastore,
    Disk,
    DiskFormat,
    Fact,
    FirmwareKind,
    HostFacts,
    MacAddress,
    Name,
    Network,
    Nic,
    Value,
    VmState,
)
from godwit.core.value import SSH_KEY, USER_NAME

UserName = Annotated[str, StringConstraints(pattern=USER_NAME)]
SshKey = Annotated[str, StringConstraints(pattern=SSH_KEY, strip_whitespace=True)]
"""One public key as OpenSSH writes it, on one line."""


class DiskRequest(Value):
    """A disk to make for a new VM."""

    name: Name
    size_bytes: int = Field(gt=0, multiple_of=512)
    datastore: Name = "default"
    format: DiskFormat = DiskFormat.raw
    clustered: bool = False
    """A cluster of VMs writes it; such a VM is not moved live."""
    preallocated: bool = False
    """It takes all its room at once; else what the guest has written."""


class RootDiskRequest(Value):
    """The disk that a VM boots from, made from its disk image."""

    size_bytes: int | None = Field(default=None, gt=0, multiple_of=512)
    """None: as large as the image says."""
    datastore: Name = "default"
    format: DiskFormat = DiskFormat.raw
    link: bool = False
    """Only what differs from the image is kept (as qcow2); the image must lie in the same datastore, and stay."""


class CloudInitRequest(Value):
    """What cloud-init in the guest is told, besides the VM's name and addresses."""

    user: UserName = "godwit"
    """May log in with the keys, and become root with sudo."""
    ssh_keys: tuple[SshKey, ...] = ()
    gateways: tuple[IPv4Address | IPv6Address, ...] = ()
    name_servers: tuple[IPv4Address | IPv6Address, ...] = ()


class NicRequest(Value):
    """A network card to make for a new VM."""

    network: Name
    ip: str | None = None
    """CIDR; none: the next free one of the network's pool, or none at all."""
    ip6: str | None = None
    mac: MacAddress | None = None


class VmRequest(Value):
    """`POST /vms`: a VM to create and start."""

    name: Name
    image: str = "base"
    """An image's name, or the absolute path of a disk image (qcow2 or raw) on the host that makes the VM."""
    memory_mib: int = Field(default=512, ge=64, le=16 * 1024 * 1024)
    cpus: int = Field(default=1, ge=1, le=1024)
    cpu_model: str | None = None
    """Such as `Nehalem`; none: the best one that all hosts have."""
    firmware: FirmwareKind = FirmwareKind.bios
    nics: tuple[NicRequest, ...] = ()
    root_disk: RootDiskRequest | None = None
    """Only with a disk image."""
    cloud_init: CloudInitRequest | None = None
    """Only with a disk image."""
    disks: tuple[DiskRequest, ...] = ()
    rules: tuple[str, ...] = ()
    """Of its owner: `never-migrate`, `keep-apart=GROUP`, `max-stall=TIME`."""
    host: Name | None = None
    start: bool = True


class VmChange(Value):
    """`PATCH /vms/{name}`: what shall be otherwise; the rest stays."""

    rules: tuple[str, ...]
    """All of its owner's rules from now on."""


class VmView(Fact):
    """`GET /vms/{name}`."""

    name: str
    state: VmState
    host: str | None
    """Where it runs, or ran last."""
    host_answers: bool = True
    """If not, the state is what that host said last."""
    memory_mib: int
    cpus: int
    image: str
    uuid: str
    nics: tuple[Nic, ...]
    disks: tuple[Disk, ...] = ()
    firmware: FirmwareKind = FirmwareKind.bios
    machine: str | None = None
    cpu_model: str | None = None
    accelerator: Accelerator | None = None
    migration: str | None = None
    """The migration that moves it now."""
    created_at: datetime
    reason: str | None = None
    """Why it is `crashed` or `in-doubt`."""
    rules: tuple[str, ...] = ()
    """Of its owner."""
    destinations: tuple[Candidate, ...] | None = None
    """Where it can go now, and why not elsewhere; none: not asked for."""


class HostState(Fact):
    """`GET /hosts/{name}`."""

    name: str
    address: str
    reachable: bool
    draining: bool = False
    """Nothing new is placed there."""
    reason: str | None = None
    facts: HostFacts | None = None
    """As last seen."""
    arrivals: tuple[Candidate, ...] | None = None
    """What could come here now, and why other VMs could not; none: not asked for."""


class DrainRequest(Value):
    """`POST /hosts/{name}/drain`."""

    parallel: int | None = Field(default=None, ge=1, le=64)
    """Of each migration: see there."""


class NetworkView(Network):
    """`GET /networks`."""

    hosts: tuple[str, ...] = ()


class DatastoreView(Datastore):
    """`GET /datastores`."""

    hosts: tuple[str, ...] = ()
    free_bytes: dict[str, int] = {}
    """By host, as last seen."""
    disks: int = 0
    """How many lie there."""


class DiskView(Disk):
    """`GET /disks`."""

    vm: str


class AuditEntry(Fact):
    """`GET /audit`: one request that changed something, or tried to."""

    at: datetime
    """When it came."""
    caller: str
    """The token's name, or the user id on the socket; `unknown` without a valid token."""
    role: str | None = None
    """What the caller may do."""
    method: str
    """Of HTTP; `WEBSOCKET` for a console."""
    path: str
    request: Any = None
    """The body; none if there was none, or a very long one."""
    status: int | None = None
    """What it was answered; none: the manager ended before."""
    code: str | None = None
    """Of the problem, if it was one."""
    about: str | None = None
    """The migration or the VM that the answer tells of."""


class Problem(Fact):
    """`application/problem+json` (RFC 9457): what every error looks like."""

    type: str = "about:blank"
    title: str
    status: int
    detail: str
    """What, where, and what to do next."""
    kind: str
    """One of core.errors.KINDS: decides the exit status."""
    code: str

"""The shapes of the REST API: what `--json` prints and what `client` returns."""

from __future__ import annotations

from datetime import datetime

from pydantic import Field

from godwit.core.model import Accelerator, Datastore, Disk, Fact, HostFacts, Name, Network, Nic, Value, VmState


class DiskRequest(Value):
    """A disk to make for a new VM."""

    name: Name
    size_bytes: int = Field(gt=0)
    datastore: Name | None = None


class NicRequest(Value):
    """A network card to make for a new VM."""

    network: Name
    ip: str | None = None
    """CIDR; none: the next free one of the network's pool, or none at all."""
    ip6: str | None = None
    mac: str | None = None


class VmRequest(Value):
    """`POST /vms`: a VM to create and start."""

    name: Name
    image: str = "base"
    memory_mib: int = Field(default=512, ge=64, le=16 * 1024 * 1024)
    cpus: int = Field(default=1, ge=1, le=1024)
    nics: tuple[NicRequest, ...] = ()
    disks: tuple[DiskRequest, ...] = ()
    host: Name | None = None
    start: bool = True


class VmView(Fact):
    """`GET /vms/{name}`."""

    name: str
    state: VmState
    host: str | None
    """Where it runs, or ran last."""
    memory_mib: int
    cpus: int
    image: str
    uuid: str
    nics: tuple[Nic, ...]
    disks: tuple[Disk, ...] = ()
    machine: str | None = None
    cpu_model: str | None = None
    accelerator: Accelerator | None = None
    migration: str | None = None
    """The migration that moves it now."""
    created_at: datetime
    reason: str | None = None
    """Why it is `crashed` or `in-doubt`."""


class HostState(Fact):
    """`GET /hosts/{name}`."""

    name: str
    address: str
    reachable: bool
    reason: str | None = None
    facts: HostFacts | None = None
    """As last seen."""


class NetworkView(Network):
    """`GET /networks`."""

    hosts: tuple[str, ...] = ()


class DatastoreView(Datastore):
    """`GET /datastores`."""

    hosts: tuple[str, ...] = ()
    free_bytes: int | None = None


class DiskView(Disk):
    """`GET /disks`."""

    vm: str


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

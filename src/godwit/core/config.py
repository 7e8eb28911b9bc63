"""The configuration of the two daemons: values only; main/config.py reads the files."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import Field, StringConstraints, model_validator

from godwit.core.model import Name, Value
from godwit.core.value import ENDPOINT

Endpoint = Annotated[str, StringConstraints(pattern=ENDPOINT)]
"""`address:port`, IPv6 addresses in brackets."""


class Tls(Value):
    """Who we are and whom we believe; PEM files."""

    ca: Path
    certificate: Path
    key: Path


class NetworkConfig(Value):
    """A network as one host has it: an existing bridge, of Linux or of Open vSwitch."""

    bridge: str
    vlan: int | None = Field(default=None, ge=1, le=4094)
    """The VLAN whose access ports VMs get; with Open vSwitch only."""


class DatastoreConfig(Value):
    """A place for disks, as one host sees it."""

    path: Path
    shared: bool = False


class Waits(Value):
    """How long a hand-over's agents wait before they look or ask again; none of it makes anybody take a VM back."""

    look_s: float = Field(default=1.0, gt=0)
    """Between two looks at a QEMU that ought to do something."""
    watchdog_s: float = Field(default=5.0, gt=0)
    """From STOP to the stream's end, beyond the longest blackout that was asked for; longer means that the link
    swallows it, and the stream is broken off."""
    resume_s: float = Field(default=5.0, gt=0)
    """For a source whose stream failed to resume by itself; then it is told to."""
    ask_again_s: float = Field(default=0.5, gt=0)
    """Between two times that the destination is told to run the VM."""
    stall_s: float = Field(default=10.0, gt=0)
    """For the end of a stream that was sent and of which nothing comes in; then the token goes back."""
    never_came_s: float = Field(default=30.0, gt=0)
    """For a stream whose source is dead and that nobody has begun; then nobody will: a dead process opens no
    connection, and its kernel sends no second SYN for it."""


class AgentConfig(Value):
    """`godwit agent --config FILE`."""

    host: Name
    listen: tuple[Endpoint, ...] = Field(min_length=1)
    """Where manager and other agents reach this agent; the first one is told to others."""
    migration_address: str
    """Where this host receives memory."""
    state_dir: Path = Path("/var/lib/godwit")
    run_dir: Path = Path("/run/godwit")
    tls: Tls
    memory_mib: int | None = Field(default=None, gt=0)
    """Memory for guests; none: nine tenths of the host's."""
    qemu: str = "qemu-system-x86_64"
    qemu_env: dict[str, str] = {}
    """Extra environment for QEMU, such as QEMU_MODULE_DIR for one that is unpacked beside the installed one."""
    qemu_firmware_dir: Path | None = None
    """QEMU's `-L`, for the same purpose."""
    accelerator: Literal["auto", "kvm", "tcg"] = "auto"
    probe_kernel: Path | None = None
    """A Linux kernel that proves by booting that KVM works; none: the host's own in /boot."""
    cache_dir: Path = Path("/var/cache/godwit")
    metrics: Endpoint | None = None
    """Where Prometheus may ask for this agent's numbers over plain HTTP (`/metrics`); none: nowhere."""
    waits: Waits = Waits()
    observe: bool = True
    """Record the headers of a VM's frames around its switch-over, to report what its clients saw; no payload."""
    networks: dict[Name, NetworkConfig] = {}
    datastores: dict[Name, DatastoreConfig] = {}


class HostConfig(Value):
    """A host that the manager manages."""

    address: Endpoint


class ManagerNetworkConfig(Value):
    """A network as the manager sees it."""

    pool: str | None = None


class ImageConfig(Value):
    """Where an image lies: a directory with `image.json`, on every host at the same path."""

    path: Path


class Role(StrEnum):
    """What a caller of the REST API may do; each may also do what the ones before it may."""

    read = "read"
    operate = "operate"
    admin = "admin"

    def includes(self, other: Role) -> bool:
        """Whoever has this one may do what that one may."""
        order = list(Role)
        return order.index(self) >= order.index(other)


class Listen(Value):
    """Where the REST API answers over TCP, always with TLS."""

    address: Endpoint
    certificate: Path
    key: Path


class Token(Value):
    """Somebody who may use the REST API over TCP; made by `godwit pki token`."""

    name: Name
    role: Role
    sha256: Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]
    """Of the token, which is stored nowhere."""


class ManagerConfig(Value):
    """`godwit manager --config FILE`."""

    socket: Path = Path("/run/godwit/manager.sock")
    """The REST API for whoever may open this file: root, with every right, without a token."""
    listen: Listen | None = None
    """The REST API for everybody who has a token; none: the socket only."""
    tokens: tuple[Token, ...] = ()
    store: Path = Path("/var/lib/godwit/manager.sqlite")
    audit: Path | None = None
    """Who changed what, one line of JSON each; none: `audit.jsonl` beside the store."""
    tls: Tls
    hosts: dict[Name, HostConfig] = {}
    networks: dict[Name, ManagerNetworkConfig] = {}
    datastores: dict[Name, DatastoreConfig] = {}
    images: dict[str, ImageConfig] = {}

    @property
    def audit_file(self) -> Path:
        """Where the audit log lies."""
        return self.audit or self.store.with_name("audit.jsonl")

    @model_validator(mode="after")
    def _tokens_have_names_of_their_own(self) -> Self:
        names = [token.name for token in self.tokens]
        if len(set(names)) < len(names):
            raise ValueError("two tokens have the same name: the audit log could not tell them apart")
        return self

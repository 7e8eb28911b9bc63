"""The configuration of the two daemons: values only; main/config.py reads the files."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, StringConstraints

from godwit.core.model import Name, Value

Endpoint = Annotated[str, StringConstraints(pattern=r"^(\[[0-9a-fA-F:]+\]|[^:\s]+):[0-9]{1,5}$")]
"""`address:port`, IPv6 addresses in brackets."""


class Tls(Value):
    """Who we are and whom we believe; PEM files."""

    ca: Path
    certificate: Path
    key: Path


class NetworkConfig(Value):
    """A network as one host has it: an existing Linux bridge."""

    bridge: str


class DatastoreConfig(Value):
    """A place for disks, as one host sees it."""

    path: Path
    shared: bool = False


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


class ManagerConfig(Value):
    """`godwit manager --config FILE`."""

    socket: Path = Path("/run/godwit/manager.sock")
    store: Path = Path("/var/lib/godwit/manager.sqlite")
    tls: Tls
    hosts: dict[Name, HostConfig] = {}
    networks: dict[Name, ManagerNetworkConfig] = {}
    datastores: dict[Name, DatastoreConfig] = {}
    images: dict[str, ImageConfig] = {}

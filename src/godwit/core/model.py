"""What the operator names: VMs, hosts, networks, datastores, disks."""

from __future__ import annotations

from collections.abc import Iterable
from enum import StrEnum
from ipaddress import IPv4Interface, IPv6Interface
from typing import Annotated, Literal

from pydantic import Field, StringConstraints

from godwit.core.value import MAC_ADDRESS
from godwit.core.value import MIB as MIB  # again as themselves: others take them from here
from godwit.core.value import DiskFormat as DiskFormat
from godwit.core.value import Fact as Fact
from godwit.core.value import Name as Name
from godwit.core.value import Value as Value

MacAddress = Annotated[str, StringConstraints(pattern=MAC_ADDRESS)]


class VmState(StrEnum):
    """What the operator sees of a VM."""

    stopped = "stopped"
    starting = "starting"
    running = "running"
    migrating = "migrating"
    crashed = "crashed"
    in_doubt = "in-doubt"


class Accelerator(StrEnum):
    """How QEMU runs guest code."""

    kvm = "kvm"
    tcg = "tcg"


class FirmwareKind(StrEnum):
    """What a VM finds when it is switched on."""

    bios = "bios"
    uefi = "uefi"


class Image(Value):
    """A kernel and an initial file system that a VM boots, by absolute paths that its hosts share.

    Without a kernel it is a disk image: the VM boots from its first disk, which was made from it.
    """

    name: str
    kernel: str = ""
    initrd: str = ""
    cmdline: str = ""


class Nic(Value):
    """One network card of a VM."""

    network: Name
    mac: MacAddress
    ip: IPv4Interface | None = None
    ip6: IPv6Interface | None = None


class Disk(Value):
    """One disk of a VM: an image file in a datastore."""

    name: Name
    datastore: Name
    path: str
    """Absolute path, the same on every host that sees the datastore; of a LUN the target's and its number."""
    format: DiskFormat = DiskFormat.raw
    size_bytes: int = Field(gt=0)
    read_only: bool = False
    clustered: bool = False
    """A cluster of VMs writes it: QEMU lets others have it, and the VM cannot be moved live."""
    preallocated: bool = False
    """Its file takes all its room from the beginning, and goes on to wherever it goes."""

    @property
    def is_lun(self) -> bool:
        """It is a unit of an iSCSI target, and no file."""
        return self.path.startswith("iscsi://")


class DiskMove(Value):
    """A disk and what it becomes elsewhere."""

    disk: Disk
    to: Disk


class Firmware(Value):
    """UEFI instead of a BIOS; its variables lie in a datastore, so that they are there wherever the VM goes."""

    variables: Disk


class VmSpec(Value):
    """What a VM is, as asked for: complete, but not yet bound to a machine type or CPU model."""

    name: Name
    uuid: str
    memory_mib: int = Field(ge=64, le=16 * 1024 * 1024)
    cpus: int = Field(ge=1, le=1024)
    image: Image
    nics: tuple[Nic, ...] = ()
    disks: tuple[Disk, ...] = ()
    firmware: Firmware | None = None
    """None: a BIOS."""

    @property
    def volumes(self) -> tuple[Disk, ...]:
        """Every file of the VM that lies in a datastore."""
        return (*self.disks, *((self.firmware.variables,) if self.firmware else ()))

    def with_moved(self, moves: Iterable[DiskMove]) -> VmSpec:
        """The same VM, these of its volumes lying where they were moved to."""
        moved = {move.disk.name: move.to for move in moves}
        disks = tuple(moved.get(disk.name, disk) for disk in self.disks)
        firmware = self.firmware and Firmware(
            variables=moved.get(self.firmware.variables.name, self.firmware.variables)
        )
        return self.model_copy(update={"disks": disks, "firmware": firmware})


class Pinned(Value):
    """What must never change while a VM lives, because its memory image depends on it; chosen at first start."""

    machine: str
    """A versioned machine type (`pc-q35-7.2`), never an alias."""
    cpu_model: str
    """A versioned CPU model (`Nehalem-v1`), never `host` or `max`."""
    accelerator: Accelerator


class Network(Value):
    """What a VM's NIC is attached to, as the manager knows it."""

    name: Name
    pool: str | None = None
    """Addresses to hand out, `10.90.0.100-10.90.0.199/24`; none: the operator names them."""


class Datastore(Value):
    """A place where disks live."""

    name: Name
    kind: Literal["directory", "iscsi"] = "directory"
    path: str
    """Absolute, and the same on every host that sees it; of an iSCSI target `iscsi://ADDRESS[:PORT]/NAME`."""
    shared: bool = False
    """Several hosts see the same files there, as they do at an iSCSI target."""


class Lun(Fact):
    """A unit of an iSCSI target: room for one disk."""

    number: int
    size_bytes: int
    serial: str
    """By which it is known whoever looks at it."""


class DatastoreFacts(Fact):
    """A datastore as one host sees it."""

    name: Name
    kind: str = "directory"
    path: str
    shared: bool
    free_bytes: int
    """Of an iSCSI target: all that its units hold, whoever uses them."""
    luns: tuple[Lun, ...] = ()
    token: str = ""
    """Hosts that see the same files see the same one there; none: nothing was ever put there."""
    writable: bool = True

    def is_same(self, other: DatastoreFacts) -> bool:
        """They hold the same files: by what was seen there, else by what the operator says of them."""
        if self.token or other.token:
            return self.token == other.token
        return self.shared and other.shared and self.path == other.path


class UefiFacts(Fact):
    """The UEFI firmware that a host has; a VM moves only between equal ones."""

    code: str
    """Path of its code."""
    variables: str
    """Path of the variables that a new VM starts with."""
    code_bytes: int


class QemuFacts(Fact):
    """What one host's QEMU can do, asked from QEMU itself."""

    version: str
    machines: tuple[str, ...]
    """Versioned q35 machine types, newest first."""
    cpu_models: tuple[str, ...]
    """Versioned CPU models that run here with every feature."""
    accelerator: Accelerator
    multifd: bool = True
    cpu_lacks: dict[str, tuple[str, ...]] = {}
    """By versioned CPU model that does not run here: the features that are missing."""
    compressions: tuple[str, ...] = ()
    """Of a memory stream over several connections."""
    most_cpus: int | None = None
    """Of one VM of its newest machine type; none: it does not say."""


class VmStatus(Fact):
    """One QEMU on one host, as its agent sees it."""

    name: Name
    state: VmState
    owned: bool
    """This host may run it (its journal says so); false for a copy that waits at a destination."""
    keeper_pid: int | None = None
    qemu_pid: int | None = None
    """Process ids as the agent's namespace counts them."""
    memory_mib: int = 0
    exit_status: int | None = None


class HostFacts(Fact):
    """What an agent tells about its host."""

    host: Name
    agent_version: str
    agent_pid: int
    boot_id: str
    memory_mib: int
    """Memory for guests in all."""
    memory_free_mib: int
    """Memory that no guest has been promised."""
    cpus: int
    load: float = 0.0
    """Processes that want a CPU, averaged over the last minute, for each CPU."""
    unix_ms: float | None = None
    """The host's clock when it told this."""
    networks: tuple[Name, ...] = ()
    datastores: tuple[DatastoreFacts, ...] = ()
    uefi: UefiFacts | None = None
    """None: no VM with UEFI can run here."""
    vms: tuple[VmStatus, ...] = ()
    migration_address: str
    peer_address: str
    """`address:port` where this agent answers other agents."""
    qemu: QemuFacts

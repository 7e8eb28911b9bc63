"""What a host is asked to do with the files of VMs in datastores."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from godwit.contract.order import Order
from godwit.core.model import Datastore, Disk, DiskFormat, DiskMove, Fact, Name, Value


class Blank(Value):
    """Nothing but zeros, which take no room yet."""

    kind: Literal["blank"] = "blank"
    size_bytes: int = Field(gt=0)


class FromImage(Value):
    """What a disk image holds, copied, or linked so that only what differs from it is kept."""

    kind: Literal["image"] = "image"
    path: str
    size_bytes: int | None = Field(default=None, gt=0)
    """Grown to that; none: as large as the image."""
    link: bool = False


class Seed(Value):
    """A read-only volume labelled CIDATA with these files: what cloud-init's NoCloud looks for."""

    kind: Literal["seed"] = "seed"
    files: dict[str, str]


class UefiVariables(Value):
    """The variables that a new VM with UEFI starts with."""

    kind: Literal["uefi"] = "uefi"


Content = Annotated[Blank | FromImage | Seed | UefiVariables, Field(discriminator="kind")]


class CreateDisk(Value):
    """Make this disk of this VM; the host says where it lies."""

    vm: Name
    name: Name
    datastore: Name
    format: DiskFormat = DiskFormat.raw
    clustered: bool = False
    preallocated: bool = False
    """Of a blank one."""
    unit: str = ""
    """Of an iSCSI target: the one that becomes the disk, by its URL; whatever it held is gone then."""
    content: Content


class RemoveDisk(Value):
    """This disk is no longer needed, nor is what it holds."""

    vm: Name
    disk: Disk


class UseDatastores(Value):
    """The datastores that the operator added, all of them."""

    datastores: tuple[Datastore, ...]


class PlaceDisks(Order):
    """Files into which these disks shall be copied."""

    disks: tuple[Disk, ...]


class ServeDisks(Order):
    """Let the source write these disks over the network."""

    disks: tuple[Disk, ...]
    tls: bool = True
    off: bool = False
    """Their VM is off, and no QEMU waits for it."""


class Served(Fact):
    """Where disks can be written."""

    address: str
    """`ADDRESS:PORT`, for NBD; each disk's export has its name."""
    key: str = ""
    """What whoever connects must know, as hex digits; none: nothing is encrypted."""


class MirrorDisks(Order):
    """Copy these disks, and keep the copies equal until told otherwise."""

    moves: tuple[DiskMove, ...]
    served: Served | None = None
    """Where the copies are written; none: on this host."""
    off: bool = False
    """Their VM is off; else its QEMU copies, and when that ends so does the copying."""
    bandwidth_bytes_per_s: int | None = None


class Finished(Fact):
    """Which copies are complete."""

    disks: tuple[Name, ...]
    why: str = ""
    """Others are not."""


class DigestDisks(Order):
    """Say what a guest would read on these disks of a VM that is off."""

    disks: tuple[Disk, ...]


class Digested(Fact):
    """Checksums."""

    disks: dict[Name, str]
    """By disk; equal ones of equal disks, whatever their formats."""


class GiveVm(Order):
    """This host has no longer a VM that is off."""

    destination: Name


class TakeVm(Order):
    """This host has a VM that is off."""

    source: Name

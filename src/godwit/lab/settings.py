"""What a lab is asked to be: values only."""

from __future__ import annotations

import re
from enum import StrEnum
from pathlib import Path
from typing import Annotated

from pydantic import Field, StringConstraints, model_validator

from godwit.core.errors import Invalid
from godwit.core.model import Value

HOST_LETTERS = "abcdefgh"

Rate = Annotated[str, StringConstraints(pattern=r"^(unlimited|[1-9][0-9]{0,5}[kmg]bit)$")]
"""What one host's migration link carries in each direction: `1gbit`, `100mbit`, or `unlimited`."""

_BITS = {"k": 10**3, "m": 10**6, "g": 10**9}


class LinkQueue(StrEnum):
    """How a migration link orders what waits in it."""

    priority = "priority"
    """Frames with a DSCP in the upper half and ARP go first: the relay and the agents' own messages."""
    fifo = "fifo"
    """One queue for everything, as most networks have it."""


class SwitchKind(StrEnum):
    """What the LAN switch is, or a host's own bridge."""

    bridge = "bridge"
    """A Linux bridge."""
    ovs = "ovs"
    """Open vSwitch in user space, with access ports in a VLAN."""


class Settings(Value):
    """The options of `godwit lab up`: two labs with equal settings are interchangeable."""

    hosts: int = Field(default=2, ge=2, le=len(HOST_LETTERS))
    rate: Rate = "1gbit"
    link_queue: LinkQueue = LinkQueue.priority
    switch: SwitchKind = SwitchKind.bridge
    bridges: dict[str, SwitchKind] = {}
    """What hosts plug VMs into, where it is no Linux bridge."""
    migration_mtu: int = Field(default=1600, ge=1500, le=9000)
    """Of the migration network: 1600 takes a tunnelled frame whole, 1500 (as most networks have it) cuts it in two."""
    qemu: dict[str, Path] = {}
    """A QEMU unpacked beside the installed one, by host: the directory that holds its `usr`."""
    images: tuple[str, ...] = ("base",)
    storage_node: bool = False
    """An iSCSI target on a node and network of its own, as a datastore."""
    daemons: bool = True
    """False: namespaces and cables only, for experiments with other software."""

    @model_validator(mode="after")
    def _names_its_own_hosts(self) -> Settings:
        for host in (*self.qemu, *self.bridges):
            if host not in self.host_names:
                raise ValueError(f"there is no {host}: this lab has {', '.join(self.host_names)}")
        return self

    @property
    def host_names(self) -> tuple[str, ...]:
        """`host-a`, `host-b`, ..."""
        return tuple(f"host-{letter}" for letter in HOST_LETTERS[: self.hosts])

    @property
    def has_open_vswitch(self) -> bool:
        """Somewhere in it."""
        return SwitchKind.ovs in (self.switch, *self.bridges.values())

    def bridge_of(self, host: str) -> SwitchKind:
        """What that host plugs VMs into."""
        return self.bridges.get(host, SwitchKind.bridge)

    @property
    def rate_bits_per_s(self) -> int | None:
        """None: as fast as the machine can."""
        return rate_bits_per_s(self.rate)


def rate_bits_per_s(rate: str) -> int | None:
    """`1gbit` as a number; None for `unlimited`."""
    if rate == "unlimited":
        return None
    return int(rate[:-4]) * _BITS[rate[-4]]


def parse_qemu(options: list[str]) -> dict[str, Path]:
    """`HOST=DIR` options by host; `Invalid` for one that is neither that nor a tree with a QEMU in it."""
    found: dict[str, Path] = {}
    for option in options:
        match = re.fullmatch(r"(host-[a-z])=(.+)", option)
        if match is None:
            raise Invalid(f"--qemu {option} is not HOST=DIR: write it like host-b=/opt/qemu-10")
        tree = Path(match[2]).expanduser().absolute()
        if not (tree / QEMU_IN_TREE).is_file():
            raise Invalid(
                f"{tree / QEMU_IN_TREE} does not exist: --qemu wants a directory that a package was unpacked in"
            )
        found[match[1]] = tree
    return found


def parse_bridges(options: list[str], hosts: int) -> dict[str, SwitchKind]:
    """`KIND` and `HOST=KIND` options by host, Linux bridges left out; `Invalid` for one that is neither."""
    found: dict[str, SwitchKind] = {}
    for option in options:
        host, _, kind = option.rpartition("=")
        if kind not in set(SwitchKind):
            raise Invalid(f"--bridge {option} is not [HOST=]bridge or [HOST=]ovs: write it like ovs or host-b=ovs")
        names = [host] if host else [f"host-{letter}" for letter in HOST_LETTERS[:hosts]]
        found |= dict.fromkeys(names, SwitchKind(kind))
    return {name: kind for name, kind in found.items() if kind is not SwitchKind.bridge}


QEMU_IN_TREE = Path("usr/bin/qemu-system-x86_64")

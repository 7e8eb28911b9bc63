"""What goes into the lab's guest images: packages, programs, kernel modules and the bulk service's pattern."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

KERNELS: Final = ("linux-image-cloud-amd64", "linux-image-virtual")
"""Kernels made for VMs, by distribution (Debian, Ubuntu); the first that the machine's package lists know is used."""

READY_LINE: Final = "godwit-guest ready"
"""What the guest prints on its console once Redis, SSH and echo answer; guest/init has the same words."""

CMDLINE: Final = "console=ttyS0 quiet mitigations=off"
"""The part of the kernel's command line that every guest needs; its network is added to it.

Page-table isolation is off: under TCG it empties QEMU's translation cache at every system call.
"""


@dataclass(frozen=True)
class Recipe:
    """The inputs of one image, besides the files in guest/."""

    packages: tuple[str, ...]
    programs: tuple[str, ...]
    """Names of the programs that go into the image; their libraries follow by themselves."""
    libraries: tuple[str, ...] = ()
    """Libraries that programs load by name at run time, so that their ELF headers do not say so."""
    modules: tuple[str, ...] = (
        "virtio_pci",
        "virtio_net",
        "virtio_blk",
        "virtio_console",
        "virtio-rng",
        "button",
        "evdev",
    )


BASE: Final = Recipe(
    packages=(
        "busybox-static",
        "redis-server",
        "redis-tools",
        "dropbear-bin",
        "qemu-guest-agent",
        "ucspi-tcp-ipv6",
        "inetutils-inetd",
    ),
    programs=("busybox", "redis-server", "dropbear", "qemu-ga", "tcpserver", "inetutils-inetd"),
)

RECIPES: Final[dict[str, Recipe]] = {
    "base": BASE,
    "tools": Recipe(
        packages=(*BASE.packages, "e2fsprogs", "fio", "stress-ng", "iperf3"),
        programs=(*BASE.programs, "redis-cli", "redis-benchmark", "fio", "mke2fs", "e2fsck", "stress-ng", "iperf3"),
        libraries=("libgcc_s.so.1",),
        modules=(*BASE.modules, "crc32c_generic", "ext4"),
    ),
}


def chargen_pattern() -> bytes:
    """The 7030 bytes that the bulk service repeats without end (RFC 864): 95 lines of 72 rotating characters."""
    ring = bytes(range(0x20, 0x7F)) * 2
    return b"".join(ring[line : line + 72] + b"\r\n" for line in range(95))

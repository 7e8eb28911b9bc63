"""Taps: the cable between a VM's network card and the host; a tap lives exactly as long as somebody holds it open."""

from __future__ import annotations

import errno
import fcntl
import hashlib
import os
import struct
from dataclasses import dataclass

from godwit.core.errors import Failed

_DEVICE = "/dev/net/tun"
_TUNSETIFF = 0x400454CA
_IFF_TAP, _IFF_NO_PI, _IFF_VNET_HDR, _IFF_TUN_EXCL = 0x0002, 0x1000, 0x4000, 0x8000
_TUNSETOFFLOAD = 0x400454D0
_CHECKSUM, _TSO4, _TSO6, _TSO_ECN = 0x01, 0x02, 0x04, 0x08
_NAME_BYTES_MAX = 15


@dataclass(frozen=True)
class Tap:
    """An open tap: the interface's name, and the descriptor that keeps it alive (not inherited by programs)."""

    name: str
    fd: int


def tap_name(vm: str, nic_index: int, generation: str) -> str:
    """The name of the tap of a VM's network card: always the same for the same words, 15 characters.

    `generation` tells apart two taps of one card that one host may hold at once (a migration's id, or "").
    """
    digest = hashlib.sha256(f"{vm}/{nic_index}/{generation}".encode()).hexdigest()
    return f"gw-{digest[:12]}"


def open_tap(name: str) -> Tap:
    """A new tap of that name exists, down and unplugged, whose frames carry a virtio-net header.

    It vanishes when the last descriptor of it is closed. `Failed` if the host does not let us, or the name is taken.
    """
    if not 0 < len(name.encode()) <= _NAME_BYTES_MAX:
        raise Failed(f"{name!r} cannot name a tap: 1 to {_NAME_BYTES_MAX} bytes")
    try:
        fd = os.open(_DEVICE, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        raise Failed(f"{_DEVICE} cannot be opened ({error.strerror}): {_remedy(error)}", "tap") from error
    try:
        flags = _IFF_TAP | _IFF_NO_PI | _IFF_VNET_HDR | _IFF_TUN_EXCL
        fcntl.ioctl(fd, _TUNSETIFF, struct.pack("16sH22x", name.encode(), flags))
    except OSError as error:
        os.close(fd)
        if error.errno == errno.EBUSY:
            raise Failed(f"there is a network interface {name} already: `ip link show {name}`", "tap") from error
        raise Failed(f"tap {name} cannot be made ({error.strerror}): run the agent as root", "tap") from error
    return Tap(name, fd)


def take_large(tap: Tap) -> None:
    """Large segments and unfinished checksums come out of the tap as they went in, with a header that says so."""
    fcntl.ioctl(tap.fd, _TUNSETOFFLOAD, _CHECKSUM | _TSO4 | _TSO6 | _TSO_ECN)


def _remedy(error: OSError) -> str:
    if error.errno in (errno.EACCES, errno.EPERM):
        return f"sudo chmod 666 {_DEVICE} (what the distribution's udev does by default)"
    return "sudo modprobe tun"

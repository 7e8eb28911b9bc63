"""What network cards leave to hardware."""

from __future__ import annotations

import ctypes
import fcntl
import socket
import struct

_SIOCETHTOOL = 0x8946
_STXCSUM = 0x00000017
"""ETHTOOL_STXCSUM; segmentation offload goes with it (linux/ethtool.h)."""


def make_checksums(device: str) -> None:
    """The kernel makes checksums, and cuts segments, before a frame leaves by this device; `OSError` if it cannot."""
    value = ctypes.create_string_buffer(struct.pack("=II", _STXCSUM, 0))
    request = struct.pack("16sP", device.encode(), ctypes.addressof(value)) + bytes(16)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as opened:
        fcntl.ioctl(opened, _SIOCETHTOOL, request)

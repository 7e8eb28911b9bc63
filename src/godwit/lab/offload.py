"""`python -m godwit.lab.offload DEVICE...`: these network cards leave no checksum to somebody else.

Open vSwitch in user space passes frames on as it reads them, and a checksum that was left to hardware is never made.
"""

from __future__ import annotations

import ctypes
import fcntl
import socket
import struct
import sys

_SIOCETHTOOL = 0x8946
_STXCSUM = 0x00000017
"""ETHTOOL_STXCSUM; segmentation offload goes with it (linux/ethtool.h)."""


def make_checksums(device: str) -> None:
    """The kernel makes checksums before a frame leaves by this device."""
    value = ctypes.create_string_buffer(struct.pack("=II", _STXCSUM, 0))
    request = struct.pack("16sP", device.encode(), ctypes.addressof(value)) + bytes(16)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as opened:
        fcntl.ioctl(opened, _SIOCETHTOOL, request)


if __name__ == "__main__":
    for each in sys.argv[1:]:
        make_checksums(each)

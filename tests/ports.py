"""Ports for programs that must be told which one to take."""

from __future__ import annotations

import random
import socket
from contextlib import ExitStack, suppress

FIRST, LAST = 20_000, 32_000
"""Below those that the kernel gives out (net.ipv4.ip_local_port_range): nobody gets one by chance before it is used."""


def free_ports(count: int) -> list[int]:
    """That nobody has on 127.0.0.1."""
    found: list[int] = []
    with ExitStack() as stack:
        while len(found) < count:
            probe = stack.enter_context(socket.socket())
            with suppress(OSError):
                probe.bind(("127.0.0.1", port := random.randint(FIRST, LAST)))
                found.append(port)
    return found

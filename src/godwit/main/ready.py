"""Tells systemd that a daemon is ready (sd_notify(3)), so that `systemctl start` returns when it answers."""

from __future__ import annotations

import os
import socket


def tell_ready() -> None:
    """Whoever started us and waits for that knows; nobody does without NOTIFY_SOCKET."""
    place = os.environ.get("NOTIFY_SOCKET")
    if not place:
        return
    if place.startswith("@"):  # an abstract socket
        place = "\0" + place[1:]
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sender:
        sender.sendto(b"READY=1", place)

"""Sockets of another process, found by their peer's port and changed from outside."""

from __future__ import annotations

import asyncio
import os
import socket

import pytest

from godwit.core.errors import Failed
from godwit.host.process import fetch_fd
from godwit.qemu.sockets import UNSENT_BYTES, keep_short

TCP_NOTSENT_LOWAT = 25
SIZE = 128 * 1024
"""Within what every user may have."""


def test_only_the_streams_to_that_port_are_kept_short() -> None:
    with socket.create_server(("127.0.0.1", 0)) as wanted, socket.create_server(("127.0.0.1", 0)) as other:
        streams = [socket.create_connection(server.getsockname()) for server in (wanted, wanted, other)]
        uri = f"tcp:127.0.0.1:{wanted.getsockname()[1]}"

        count = asyncio.run(keep_short(os.getpid(), uri, buffer_bytes=SIZE))

        limits = [stream.getsockopt(socket.IPPROTO_TCP, TCP_NOTSENT_LOWAT) for stream in streams]
        assert count == 2
        assert limits[:2] == [UNSENT_BYTES, UNSENT_BYTES]
        assert limits[2] != UNSENT_BYTES
        assert [stream.getsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF) == 2 * SIZE for stream in streams] == [1, 1, 0]
        for stream in streams:
            stream.close()


def test_a_descriptor_that_is_not_there_is_failed() -> None:
    with pytest.raises(Failed, match="descriptor 987654"):
        fetch_fd(os.getpid(), 987654)

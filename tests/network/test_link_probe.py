"""The probe over the loopback: what it finds, and what it does when nobody is there."""

from __future__ import annotations

import socket

from godwit.network.link_probe import Probed, open_sink, probe

ADDRESS = "127.0.0.1"


def test_what_arrives_is_counted() -> None:
    found = probe(ADDRESS, *open_sink(ADDRESS))

    assert found.bytes_per_s > 10**6
    assert found.rtt_ms < 100


def test_without_the_token_nothing_is_counted() -> None:
    port, token = open_sink(ADDRESS)

    assert probe(ADDRESS, port, "00" * (len(token) // 2)) == Probed(0, 0.0)


def test_nobody_there_is_nothing_found() -> None:
    with socket.create_server((ADDRESS, 0)) as server:
        port = server.getsockname()[1]

    assert probe(ADDRESS, port, "00") == Probed(0, 0.0)

"""The probe over the loopback: what it finds, and what it does when nobody is there."""

from __future__ import annotations

import socket

from godwit.network.link_probe import UNKNOWN, Probed, open_sink, probe

ADDRESS = "127.0.0.1"


def test_what_arrives_is_counted() -> None:
    """On a busy machine the receiver may sleep through the whole probe, but not every time."""
    found = [UNKNOWN]
    while not found[-1].bytes_per_s and len(found) < 100:
        found.append(probe(ADDRESS, *open_sink(ADDRESS)))

    assert found[-1].bytes_per_s > 0
    assert found[-1].rtt_ms > 0


def test_without_the_token_nothing_is_counted() -> None:
    port, token = open_sink(ADDRESS)

    assert probe(ADDRESS, port, "00" * (len(token) // 2)) == Probed(0, 0.0)


def test_nobody_there_is_nothing_found() -> None:
    with socket.socket() as taken:  # and nobody listens
        taken.bind((ADDRESS, 0))

        assert probe(ADDRESS, taken.getsockname()[1], "00") == Probed(0, 0.0)

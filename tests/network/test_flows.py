"""What the kernel tells of connections, and what another kernel is told of them: recorded, and between real ones."""

from __future__ import annotations

import asyncio
import socket
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack
from ipaddress import ip_address
from pathlib import Path

import pytest

from godwit.network import flows, kernel_words
from godwit.network.kernel_words import attributes

HERE, HERE6, ELSEWHERE = map(ip_address, ("127.0.0.1", "::1", "192.0.2.1"))

TCP = bytes.fromhex(
    "020000003400018014000180080001007f000001080002007f0000011c000280050001000600000006000200e9ee00000600030015b30000"
    "3400028014000180080001007f000001080002007f0000011c00028005000100060000000600020015b3000006000300e9ee0000"
    "080003000000000e080008000000000008000c00259d6e6808000b0000000001080007000006977f300004802c0001800500010003000000"
    "050002000a000000050003000a00000006000400230000000600050023000000"
)
"""Of Linux 6.18: an established connection from port 59886 to 5555 of 127.0.0.1."""
LATER = TCP.replace(bytes.fromhex("080007000006977f"), bytes.fromhex("0800070000069700"))
STATUS = bytes.fromhex("080003000000000e")
ID = bytes.fromhex("08000c00259d6e68")
FLAGS, LIBERAL_FLAGS = bytes.fromhex("0600040023000000"), bytes.fromhex("060004002bff0000")

PROBE_PORT = 5555
FILTER = "add table inet t; add chain inet t c { type filter hook input priority 0; }; add rule inet t c ct state new"
TRACKED = Path("/proc/net/nf_conntrack")


def only(answer: bytes, *addresses: str) -> list[bytes]:
    return list(flows.usable(answer, [ip_address(each) for each in addresses]))


def test_ends_and_state_are_told_and_what_means_something_here_only_is_not() -> None:
    (flow,) = only(TCP, "127.0.0.1")

    before, after = (dict(attributes(each[4:])) for each in (TCP, flow))
    assert flow[0] == socket.AF_INET
    assert {kind: after[kind] for kind in (1, 2, 7)} == {kind: before[kind] for kind in (1, 2, 7)}
    assert ID in TCP
    assert ID not in flow


def test_the_kernel_shall_not_mind_sequence_numbers() -> None:
    (flow,) = only(TCP, "127.0.0.1")

    assert FLAGS in TCP
    assert LIBERAL_FLAGS in flow


def test_flows_of_others_and_translated_ones_stay_where_they_are() -> None:
    translated = TCP.replace(STATUS, bytes.fromhex("080003000000001e"))

    assert only(TCP, "192.0.2.1", "::1") == []
    assert only(translated, "127.0.0.1") == []


def test_what_is_the_same_about_a_flow_does_not_change_with_time() -> None:
    (now,), (then,) = only(TCP, "127.0.0.1"), only(LATER, "127.0.0.1")

    assert now != then
    assert flows.name_of(now) == flows.name_of(then)


def test_a_flow_that_two_questions_find_is_told_once(monkeypatch: pytest.MonkeyPatch, many: None) -> None:
    """It has grown older between them."""
    answers = iter([[TCP], [LATER]])
    monkeypatch.setattr(kernel_words, "ask", lambda *_: next(answers))

    assert asyncio.run(flows.of([HERE])) == only(LATER, "127.0.0.1")


def test_a_kernel_that_tracks_nothing_is_not_asked(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(kernel_words, "ask", lambda *_: pytest.fail("it was asked"))

    monkeypatch.setattr(flows, "TRACKED", tmp_path / "no connection tracking")
    assert asyncio.run(flows.of([HERE, HERE6])) == []
    (tmp_path / "none yet").write_text("0\n")
    monkeypatch.setattr(flows, "TRACKED", tmp_path / "none yet")
    assert asyncio.run(flows.of([HERE, HERE6])) == []


def test_a_kernel_that_does_not_say_how_many_it_tracks_is_asked(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(flows, "TRACKED", tmp_path)  # a directory, which cannot be read
    monkeypatch.setattr(kernel_words, "ask", lambda *_: [TCP])

    assert asyncio.run(flows.of([HERE])) == only(TCP, "127.0.0.1")


@pytest.fixture
def many(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The kernel says that it tracks a lot."""
    (tmp_path / "count").write_text(f"{flows.FEW + 1}\n")
    monkeypatch.setattr(flows, "TRACKED", tmp_path / "count")


@pytest.fixture
def connection(namespace: None) -> Iterator[str]:
    """A tracked connection over each IP version; what the kernel knows of them."""
    if subprocess.run(["nft", FILTER], check=False, capture_output=True).returncode != 0:
        pytest.skip("no nft here, or no connection tracking in this kernel")
    with ExitStack() as stack:
        for family, address in ((socket.AF_INET, HERE), (socket.AF_INET6, HERE6)):
            server = stack.enter_context(socket.create_server((str(address), PROBE_PORT), family=family))
            client = stack.enter_context(socket.create_connection((str(address), PROBE_PORT)))
            stack.enter_context(server.accept()[0])
            client.sendall(b"x")
        yield TRACKED.read_text()


def liberal() -> list[bool]:
    """Of each tracked connection, whether its sequence numbers are not minded."""
    answers = kernel_words.ask(kernel_words.NETFILTER, 0x101, bytes(4))
    return [b"\x06\x00\x04\x00\x2b" in answer for answer in answers]


@pytest.mark.root
def test_a_kernel_that_forgot_them_is_told_again(connection: str) -> None:
    known = asyncio.run(flows.of([HERE, HERE6]))
    asyncio.run(flows.remove(known))
    assert (len(known), TRACKED.read_text()) == (2, "")

    added = asyncio.run(flows.add(known))

    assert sorted(added) == sorted(known)
    again = TRACKED.read_text()
    assert again.count("ESTABLISHED") == connection.count("ESTABLISHED") == 2
    assert again.count("[ASSURED]") == 2
    assert asyncio.run(flows.add(known)) == []


@pytest.mark.root
def test_sequence_numbers_are_not_minded_and_minded_again(connection: str) -> None:
    known = asyncio.run(flows.of([HERE, HERE6]))
    before = liberal()

    asyncio.run(flows.be_liberal(known))
    while_away = liberal()
    asyncio.run(flows.be_liberal(known, is_on=False))

    assert (before, while_away, liberal()) == ([False] * 2, [True] * 2, [False] * 2)


@pytest.mark.root
def test_among_many_flows_ours_are_found_too(connection: str, many: None) -> None:
    assert len(asyncio.run(flows.of([HERE, HERE6]))) == 2
    assert asyncio.run(flows.of([ELSEWHERE])) == []


@pytest.mark.root
def test_nobody_elses_flows_are_told(connection: str) -> None:
    assert asyncio.run(flows.of([ELSEWHERE])) == []
    assert asyncio.run(flows.of([])) == []

"""Taps live as long as somebody holds them."""

from __future__ import annotations

import fcntl
import os
import socket

import pytest
from hypothesis import given
from hypothesis import strategies as st

from godwit.core.errors import Failed
from godwit.network.tap import open_tap, tap_name

from .conftest import Lan, ip


def test_names_are_stable_and_fit() -> None:
    assert tap_name("web", 0, "") == tap_name("web", 0, "")
    assert len({tap_name("web", 0, ""), tap_name("web", 1, ""), tap_name("web", 0, "m1"), tap_name("db", 0, "")}) == 4


@given(st.text(), st.integers(0, 100), st.text())
def test_every_name_is_short_and_plain(vm: str, nic: int, generation: str) -> None:
    name = tap_name(vm, nic, generation)
    assert len(name) <= 15
    assert name.isascii()


@pytest.mark.parametrize("name", ["", "x" * 16])
def test_names_that_the_kernel_would_cut_are_not_used(name: str) -> None:
    with pytest.raises(Failed, match="cannot name a tap"):
        open_tap(name)


@pytest.mark.root
def test_a_tap_vanishes_with_its_last_descriptor(lan: Lan) -> None:
    tap, _ = lan.tap("gw-one")
    with lan.stack.pop_all():
        second = os.dup(tap.fd)
    assert socket.if_nametoindex("gw-one") > 0
    os.close(second)
    with pytest.raises(OSError, match="no interface"):
        socket.if_nametoindex("gw-one")


@pytest.mark.root
def test_programs_do_not_inherit_it(lan: Lan) -> None:
    tap, _ = lan.tap("gw-one")
    assert fcntl.fcntl(tap.fd, fcntl.F_GETFD) & fcntl.FD_CLOEXEC
    assert "vnet_hdr on persist off" in ip("-details link show gw-one")


@pytest.mark.root
def test_a_name_that_is_taken_is_refused(lan: Lan) -> None:
    lan.tap("gw-one")
    with pytest.raises(Failed, match="gw-one already"):
        open_tap("gw-one")

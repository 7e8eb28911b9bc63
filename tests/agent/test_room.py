"""Memory is promised once."""

from __future__ import annotations

import pytest

from godwit.agent.room import Room
from godwit.core.errors import Refused


def test_what_runs_and_what_is_promised_counts_once() -> None:
    room = Room("host-a", 1000)

    room.promise("web-1", 400, {})
    assert room.free_mib({}) == 600
    assert room.free_mib({"web-1": 400}) == 600
    room.promise("web-2", 600, {"web-1": 400})
    with pytest.raises(Refused, match=r"0 MiB of 1000 MiB .* web-3 needs 1 MiB"):
        room.promise("web-3", 1, {"web-1": 400})
    room.forget("web-2")
    assert room.free_mib({"web-1": 400}) == 600


def test_promising_again_for_the_same_vm_is_harmless() -> None:
    room = Room("host-a", 1000)

    for _ in range(3):
        room.promise("web-1", 900, {})

    assert room.free_mib({}) == 100

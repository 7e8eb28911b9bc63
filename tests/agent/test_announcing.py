"""A VM that came is announced by all that can be told of it, whatever becomes of one of its taps."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any, cast

import pytest

from godwit.agent import announcing
from godwit.agent.announcing import Announcer
from godwit.agent.local import LocalVm
from godwit.network import announce
from godwit.network.frames import rarp
from godwit.qemu import memory
from godwit.testing.clock import run

MACS = ("52:54:00:00:00:01", "52:54:00:00:00:02")


class Switch:
    def __init__(self) -> None:
        self.left: list[bytes] = []

    async def announce(self, tap: str, frames: Sequence[bytes]) -> tuple[str, ...]:
        self.left += frames
        return (f"uplink of {tap}",)


class Snoop:
    """Of a tap that is there, or no more."""

    def __init__(self, tap: str, mac: str) -> None:
        if tap == "gw-gone":
            raise OSError(19, "No such device")

    def heard(self) -> list[Any]:
        return []

    def close(self) -> None:
        pass


async def done(*_: object, **__: object) -> None:
    pass


def test_a_tap_that_is_gone_keeps_nobody_from_announcing(monkeypatch: pytest.MonkeyPatch) -> None:
    switch = Switch()
    plugs = [
        SimpleNamespace(tap=tap, mac=mac, switch=switch) for tap, mac in zip(("gw-gone", "gw-two"), MACS, strict=True)
    ]
    nics = [SimpleNamespace(ip=None, ip6=None)] * 2
    passport = SimpleNamespace(plugs=plugs, spec=SimpleNamespace(nics=nics))
    vm = SimpleNamespace(name="web", passport=passport, machine=SimpleNamespace(monitor=None))
    monkeypatch.setattr(announcing, "Snoop", Snoop)
    monkeypatch.setattr(announce, "ask_for_memberships", done)
    monkeypatch.setattr(memory, "announce", done)

    async def story() -> None:
        announcer = Announcer(cast(LocalVm, vm))
        announcer.begin(asyncio.get_running_loop().time())
        await announcer.begun.wait()
        await announcer.end()
        assert list(announcer.left_by) == ["uplink of gw-two"]
        assert [each.kind for each in announcer.made] == ["rarp", "announce-self"]

    run(story())
    assert switch.left == [rarp(MACS[1])]

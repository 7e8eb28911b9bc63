"""How busy guests were, as it is looked at all the time: of real threads, with a monitor that only names them."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from types import SimpleNamespace
from typing import Any, cast

import pytest

from godwit.agent import usage
from godwit.agent.usage import Usage
from godwit.agent.vms import Vms
from godwit.core.errors import Unreachable

pytestmark = pytest.mark.anyio


class Guest:
    """One vCPU: a thread of ours, which works or does nothing."""

    def __init__(self, name: str, *, works: bool) -> None:
        self.name = name
        self.over = threading.Event()
        self.thread = threading.Thread(target=self._work if works else self.over.wait)
        self.asked = 0
        self.owner = SimpleNamespace(is_owner=True)
        self.is_alive = True
        self.machine: Any = SimpleNamespace(qemu_pid=os.getpid(), monitor=self)

    def _work(self) -> None:
        while not self.over.is_set():
            pass

    async def execute(self, _: str) -> list[dict[str, Any]]:
        self.asked += 1
        return [{"thread-id": self.thread.native_id}]


class Mute(Guest):
    """Its QEMU does not answer at first."""

    async def execute(self, command: str) -> list[dict[str, Any]]:
        if self.asked < 2:
            self.asked += 1
            raise Unreachable("no answer yet")
        return await super().execute(command)


@asynccontextmanager
async def looked_at(monkeypatch: pytest.MonkeyPatch, *guests: Guest) -> AsyncIterator[Usage]:
    monkeypatch.setattr(usage, "LOOK_S", 0.05)
    here = list(guests)
    looking = Usage(cast(Vms, SimpleNamespace(all=lambda: here)))
    for each in guests:
        each.thread.start()
    looking.start()
    try:
        yield looking
    finally:
        for each in guests:
            each.over.set()
            each.thread.join()
        await looking.close()


async def told(looking: Usage, guest: Guest) -> float:
    async with asyncio.timeout(60):
        while (share := looking.vcpu_share(cast(Any, guest))) is None:  # noqa: ASYNC110 - nobody tells of it
            await asyncio.sleep(0.01)
    return share


async def test_a_guest_that_works_and_one_that_does_not_are_told_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    busy, calm = Guest("busy", works=True), Guest("calm", works=False)
    async with looked_at(monkeypatch, busy, calm) as looking:
        shares = [await told(looking, each) for each in (busy, calm)]
        assert looking.idle_cpus() >= 0.0

    assert shares[0] > shares[1]
    assert busy.asked == 1, "which threads they are is asked once"


async def test_nothing_is_told_of_who_is_not_here(monkeypatch: pytest.MonkeyPatch) -> None:
    here, away = Guest("here", works=False), Guest("away", works=False)
    away.owner.is_owner = False
    async with looked_at(monkeypatch, here, away) as looking:
        await told(looking, here)
        assert looking.vcpu_share(cast(Any, away)) is None


async def test_a_qemu_that_does_not_answer_is_asked_again(monkeypatch: pytest.MonkeyPatch) -> None:
    mute, other = Mute("mute", works=False), Guest("other", works=False)
    async with looked_at(monkeypatch, mute, other) as looking:
        await told(looking, other)
        assert await told(looking, mute) is not None

    assert mute.asked == 3

"""The governor with a QEMU that only answers: what it is asked to do, and what becomes of its sockets."""

from __future__ import annotations

import asyncio
import os
import socket
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from types import SimpleNamespace
from typing import Any, cast

import pytest

from godwit.agent.governor import Governor
from godwit.agent.local import LocalVm
from godwit.agent.telling import Telling
from godwit.contract.host import PrepareOutgoing
from godwit.core.convergence import FIRST_MS, GRACE_S, Goals, limit_ms
from godwit.core.errors import Failed
from godwit.qemu import memory
from godwit.qemu.sockets import UNSENT_BYTES

pytestmark = pytest.mark.anyio

TCP_NOTSENT_LOWAT = 25
MB = 10**6


class Qemu:
    """100 MB/s go over its stream; each look finds so much more sent."""

    def __init__(self) -> None:
        self.limits: list[int] = []
        self.left_mb = 0.0
        self.looks = 0
        self.governing: asyncio.Task[None] | None = None
        self._looked = asyncio.Condition()

    async def execute(self, command: str, arguments: Mapping[str, Any] | None = None, /, **_: object) -> Any:
        if command == "migrate-set-parameters":
            self.limits.append((arguments or {})["downtime-limit"])
        if command != "query-migrate":
            return []
        async with self._looked:
            self.looks += 1
            self._looked.notify_all()
        left = int(self.left_mb * MB)
        ram = {"dirty-sync-count": 2, "transferred": self.looks, "remaining": left, "total": 2**28, "mbps": 800}
        return {"status": "active", "ram": ram}

    async def looked_at(self, times: int) -> None:
        async with asyncio.timeout(60), self._looked:
            await self._looked.wait_for(lambda: self.looks >= times)


@asynccontextmanager
async def governed(qemu: Qemu, port: int, *, deadline_s: float | None = None) -> AsyncIterator[Governor]:
    machine = SimpleNamespace(qemu_pid=os.getpid(), monitor=qemu)
    vm = cast(LocalVm, SimpleNamespace(name="web", machine=machine))
    request = PrepareOutgoing(
        vm="web",
        migration="m1",
        attempt=1,
        epoch=1,
        destination="host-b",
        peer_address="192.0.2.2:1",
        destination_address="192.0.2.2",
        uri=f"tcp:127.0.0.1:{port}",
        multifd=True,
        max_blackout_ms=300,
        deadline_s=deadline_s,
    )
    governor = Governor(vm, Telling("m1"), request)
    running = qemu.governing = asyncio.create_task(governor.run())
    try:
        yield governor
    finally:
        governor.stop()
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


async def test_connections_for_pages_are_kept_short_though_they_are_made_after_the_first_one() -> None:
    qemu = Qemu()
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = server.getsockname()
        async with governed(qemu, address[1]) as governor:
            first = socket.create_connection(address)
            governor.pass_ended(0, 1000 * time.time())
            await qemu.looked_at(1)
            later = [socket.create_connection(address) for _ in range(memory.MULTIFD_CHANNELS)]
            governor.pass_ended(0, 1000 * time.time())
            await qemu.looked_at(3)
        limits = [each.getsockopt(socket.IPPROTO_TCP, TCP_NOTSENT_LOWAT) for each in (first, *later)]
        for each in (first, *later):
            each.close()

    assert limits == [UNSENT_BYTES] * 3


async def test_the_limit_is_opened_at_once_to_what_short_passes_leave_again_and_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    qemu, began_ms = Qemu(), 1e6
    monkeypatch.setattr("godwit.agent.governor.monotonic", lambda: 0.0)
    monkeypatch.setattr("godwit.agent.governor.time", lambda: began_ms / 1000)
    async with governed(qemu, 1) as governor:
        await governor.allow()
        for number, at_ms in ((1, 1000), (2, 1010), (3, 1020)):
            qemu.left_mb = 1.0
            governor.pass_ended(number, began_ms + at_ms)
            while len(governor.passes) < number:  # two that have ended at one look would be one
                await qemu.looked_at(qemu.looks + 1)
        await qemu.looked_at(qemu.looks + 1)

    assert qemu.limits[0] == FIRST_MS
    assert 13 in qemu.limits, "1.3 times the 10 ms that each of them took"


async def test_a_deadline_that_comes_when_all_is_ready_allows_all_that_the_goal_does_and_ends_it_soon_after(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    qemu, now_s = Qemu(), [1e3]
    monkeypatch.setattr("godwit.agent.governor.monotonic", lambda: now_s[0])
    monkeypatch.setattr("godwit.agent.governor.time", lambda: now_s[0])
    async with governed(qemu, 1, deadline_s=60.0) as governor:
        await governor.allow()
        for number in (1, 2):
            qemu.left_mb = 1.0
            governor.pass_ended(number, 1000 * now_s[0])
            while len(governor.passes) < number:
                await qemu.looked_at(qemu.looks + 1)
            now_s[0] += 60.01 if number == 2 else 0.01
        await qemu.looked_at(qemu.looks + 2)  # the first may have been under way
        allowed, now_s[0] = list(qemu.limits), now_s[0] + GRACE_S
        governor.pass_ended(3, 1000 * now_s[0])
        assert qemu.governing
        async with asyncio.timeout(60):
            ended = await asyncio.gather(qemu.governing, return_exceptions=True)

    assert allowed[-1] == limit_ms(300, Goals(300))
    assert isinstance(ended[0], Failed)
    assert ended[0].code == "deadline"

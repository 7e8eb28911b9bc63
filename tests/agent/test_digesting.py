"""Disks are read once, for hours, however often the line to who asks breaks."""

from __future__ import annotations

import asyncio
import threading
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from godwit.agent import digesting
from godwit.agent.digesting import Digesting
from godwit.agent.storage_daemons import StorageDaemons
from godwit.contract.disks import DigestDisks, Digested
from godwit.core.errors import Failed
from godwit.core.model import Disk
from godwit.qemu import mirror

pytestmark = pytest.mark.anyio

ORDER = DigestDisks(
    migration="m1",
    attempt=1,
    epoch=1,
    vm="web",
    disks=(Disk(name="data", datastore="local", path="/data.raw", size_bytes=1 << 20),),
)


class Reading:
    """Stands for the storage daemon of a VM and for who reads from it, which waits until it may go on."""

    def __init__(self) -> None:
        self.diary: list[str] = []
        self.began = asyncio.Event()
        self.may_end = threading.Event()
        self.error: Exception | None = None
        self._loop = asyncio.get_running_loop()

    async def end(self, vm: str) -> None:
        self.diary.append("ended")
        self.may_end.set()  # whoever reads sees the end

    async def with_disks(self, vm: str, disks: tuple[Disk, ...]) -> Any:
        self.may_end.clear()
        return SimpleNamespace(run_dir=Path("/run/web"), monitor=None)

    def digest(self, _: Path, disk: str) -> str:
        self.diary.append(f"reads {disk}")
        self._loop.call_soon_threadsafe(self.began.set)
        self.may_end.wait()
        if self.error:
            raise self.error
        return "d1"


@pytest.fixture
async def reading(monkeypatch: pytest.MonkeyPatch) -> Reading:
    found = Reading()
    monkeypatch.setattr(digesting, "nbd", found)
    monkeypatch.setattr(mirror, "serve_here", serve)
    return found


async def serve(*_: object) -> None:
    pass


def a_digesting(reading: Reading) -> Digesting:
    resting: Any = SimpleNamespace(refuse_unless_off=lambda vm: None)
    return Digesting(cast(StorageDaemons, reading), resting)


async def test_who_asks_again_waits_for_what_is_being_read(reading: Reading) -> None:
    digest = a_digesting(reading).digest
    gone = asyncio.create_task(digest(ORDER))
    await reading.began.wait()
    gone.cancel()  # the line broke
    await asyncio.gather(gone, return_exceptions=True)
    again = asyncio.create_task(digest(ORDER))
    await asyncio.sleep(0)
    assert reading.diary == ["ended", "reads data"]

    reading.may_end.set()

    assert await again == await digest(ORDER) == Digested(disks={"data": "d1"})
    assert reading.diary == ["ended", "reads data", "ended"]


async def test_another_order_begins_when_the_earlier_one_has_ended(reading: Reading) -> None:
    digest = a_digesting(reading).digest
    first = asyncio.create_task(digest(ORDER))
    await reading.began.wait()
    reading.began.clear()
    second = asyncio.create_task(digest(ORDER.model_copy(update={"attempt": 2})))
    await reading.began.wait()
    reading.may_end.set()

    assert (await second).disks == {"data": "d1"}
    with pytest.raises(asyncio.CancelledError):
        await first
    assert reading.diary == ["ended", "reads data", "ended", "ended", "reads data", "ended"]


async def test_one_that_failed_is_begun_anew(reading: Reading) -> None:
    digest = a_digesting(reading).digest
    reading.error = Failed("the disk broke")
    first = asyncio.create_task(digest(ORDER))
    await reading.began.wait()
    reading.may_end.set()
    with pytest.raises(Failed, match="broke"):
        await first
    reading.error = None
    reading.began.clear()
    second = asyncio.create_task(digest(ORDER))
    await reading.began.wait()
    reading.may_end.set()

    assert (await second).disks == {"data": "d1"}

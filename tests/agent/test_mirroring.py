"""Disks of a VM that is off, copied between real storage daemons that die meanwhile: what is done stays done."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from godwit.agent import mirroring
from godwit.agent.mirroring import Mirrored, Mirroring
from godwit.agent.room import Room
from godwit.agent.storage_daemons import StorageDaemons
from godwit.agent.vms import Vms
from godwit.contract.disks import MirrorDisks, ServeDisks
from godwit.contract.host import Order
from godwit.core.config import AgentConfig, Tls
from godwit.core.errors import Unreachable
from godwit.core.migration import Event, EventKind
from godwit.core.model import MIB, Disk, DiskFormat, DiskMove
from godwit.qemu import mirror
from godwit.storage import images

SIZE = 40 * MIB
RANGE = 8 * MIB
ORDER = Order(migration="m1", attempt=1, epoch=1, vm="web")


class Host:
    """What of an agent copies disks; `restarted` is the next one."""

    def __init__(self, directory: Path) -> None:
        self.config = AgentConfig(
            host=directory.name,
            listen=("127.0.0.1:1",),
            migration_address="127.0.0.1",
            state_dir=directory / "state",
            run_dir=directory / "run",
            tls=Tls(ca=directory, certificate=directory, key=directory),
        )
        self.daemons = StorageDaemons(self.config)
        self.mirroring = Mirroring(Vms(self.config, Room(self.config.host, 1024)), self.daemons)

    async def restarted(self) -> Host:
        await self.daemons.close()
        return Host(self.config.state_dir.parent)

    async def kill_daemon(self) -> None:
        machine = await self.daemons.find("web")
        assert machine is not None
        os.kill(machine.qemu_pid, signal.SIGKILL)
        await asyncio.wait_for(machine.gone.wait(), 60)


@asynccontextmanager
async def two_hosts(directory: Path) -> AsyncIterator[tuple[Host, Host]]:
    source, destination = Host(directory / "a"), Host(directory / "b")
    try:
        yield source, destination
    finally:
        await source.daemons.end("web")
        await destination.daemons.end("web")


@pytest.fixture
def move(tmp_path: Path) -> DiskMove:
    """From a raw file that is full to a qcow2 file."""
    full, empty = tmp_path / "full.raw", tmp_path / "empty.qcow2"
    full.write_bytes(os.urandom(SIZE))
    asyncio.run(images.make_blank(empty, format=DiskFormat.qcow2, size_bytes=SIZE))
    words = {"name": "data", "datastore": "local", "size_bytes": SIZE}
    return DiskMove(disk=Disk(path=str(full), **words), to=Disk(path=str(empty), format=DiskFormat.qcow2, **words))


async def follow(host: Host, request: MirrorDisks, *, to_bytes: int = SIZE) -> tuple[list[int], list[Event]]:
    """Until so much is copied, or it stands still, or all is: how far it was each time, and what else was told."""
    seen, told = list[int](), list[Event]()
    async with aclosing(host.mirroring.mirror(request)) as events:  # type: ignore[type-var]
        async for event in events:
            if event.progress:
                seen.append(event.progress.transferred_bytes)
            else:
                told.append(event)
            if event.kind is EventKind.warned or (event.progress and to_bytes <= seen[-1] < SIZE):
                break
    return seen, told


async def follow_and_kill(host: Host, request: MirrorDisks) -> None:
    events = host.mirroring.mirror(request)
    await anext(events)
    await host.kill_daemon()
    async for _ in events:
        pass


def test_daemons_on_both_sides_die_and_agents_are_restarted(
    move: DiskMove, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mirror, "RANGE_BYTES", RANGE)
    monkeypatch.setattr(mirroring, "STILL_S", 60.0)  # a busy machine copies nothing for a while
    words: dict[str, Any] = ORDER.model_dump()
    serve = ServeDisks(**words, disks=(move.to,), off=True)

    async def story() -> None:
        async with two_hosts(tmp_path) as (source, destination):
            served = await destination.mirroring.serve(serve)
            request = MirrorDisks(**words, moves=(move,), served=served, off=True, bandwidth_bytes_per_s=20 * MIB)
            await follow(source, request, to_bytes=2 * RANGE + 1)

            await destination.kill_daemon()
            source = await source.restarted()
            with monkeypatch.context() as patch:
                patch.setattr(mirroring, "STILL_S", 0.2)
                _, told = await follow(source, request)
            assert "stands still" in told[-1].text
            served = await destination.mirroring.serve(serve)
            request = request.model_copy(update={"served": served})
            seen, _ = await follow(source, request, to_bytes=3 * RANGE + 1)
            assert seen[0] >= 2 * RANGE, "what was done is not copied again"

            with pytest.raises(Unreachable):
                await follow_and_kill(source, request)
            seen, told = await follow(source, request)
            assert seen[0] >= 3 * RANGE
            assert [each.kind for each in told] == [EventKind.disk_copied]
            assert (await source.mirroring.finish(ORDER)).disks == ("data",)
            await destination.daemons.end("web")

    asyncio.run(story())
    subprocess.run(["qemu-img", "compare", "-q", move.disk.path, move.to.path], check=True)
    subprocess.run(["qemu-img", "check", "-q", move.to.path], check=True)


@pytest.mark.parametrize("completing", [False, True])
def test_which_disks_a_qemu_used_that_died_depends_on_whether_it_was_told_to_use_the_copies(
    move: DiskMove, tmp_path: Path, completing: bool
) -> None:
    """Before, both have all that it wrote; afterwards only the copy may."""
    host = Host(tmp_path / "a")
    request = MirrorDisks(**ORDER.model_dump(), moves=(move,))
    note = host.mirroring._note(ORDER.vm)
    note.write(Mirrored(request=request, started_at_ms=0.0, completing=completing))

    for _ in range(2):
        finished = asyncio.run(host.mirroring.finish(ORDER))
        assert finished.disks == (("data",) if completing else ())

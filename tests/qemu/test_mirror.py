"""Disks mirrored by real QEMUs: between a daemon and one that waits for its VM, and within one."""

from __future__ import annotations

import asyncio
import os
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from godwit.core.errors import Failed
from godwit.core.model import MIB, Disk, DiskFormat, DiskMove
from godwit.qemu import disk_key, mirror, storage_daemon
from godwit.qemu.blocks import open_disk
from godwit.qemu.machine import Machine

SIZE = 8 * MIB


def a_disk(path: Path, *, read_only: bool = False, format: DiskFormat = DiskFormat.raw) -> Disk:
    return Disk(name="data", datastore="local", path=str(path), size_bytes=SIZE, read_only=read_only, format=format)


@asynccontextmanager
async def daemon(directory: Path) -> AsyncIterator[Machine]:
    machine = await storage_daemon.start(directory, qemu="qemu-system-x86_64", env={})
    try:
        yield machine
    finally:
        await machine.retire()


@pytest.fixture
def full(tmp_path: Path) -> Path:
    path = tmp_path / "full.raw"
    path.write_bytes(bytes(SIZE // 2) + os.urandom(SIZE // 2))
    return path


@pytest.fixture
def empty(tmp_path: Path) -> Path:
    path = tmp_path / "empty.qcow2"
    subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", str(path), str(SIZE)], check=True)
    return path


async def until_ready(machine: Machine) -> None:
    with machine.monitor.listening() as events:
        while not all(each.is_ready for each in await mirror.look(machine.monitor)):
            await mirror.turned(events, within_s=1.0)


@pytest.mark.parametrize("read_only", [False, True])
def test_a_disk_goes_over_the_network_encrypted(full: Path, empty: Path, tmp_path: Path, read_only: bool) -> None:
    disk = a_disk(full, read_only=read_only)
    move = DiskMove(disk=disk, to=a_disk(empty, read_only=read_only, format=DiskFormat.qcow2))

    async def story() -> None:
        async with daemon(tmp_path / "a") as source, daemon(tmp_path / "b") as destination:
            key = disk_key.make_key()
            await open_disk(source.monitor, "disk0", disk)
            if not read_only:
                await open_disk(destination.monitor, "disk0", move.to)
            await disk_key.use_key(source.monitor, source.run_dir, key, "client")
            await disk_key.use_key(destination.monitor, destination.run_dir, key, "server")
            at = await mirror.serve(destination.monitor, (move.to,), address="127.0.0.1", encrypted=True)
            with pytest.raises(Failed):
                await mirror.start(source.monitor, move, server=at, encrypted=False, bytes_per_s=0)
            await mirror.start(source.monitor, move, server=at, encrypted=True, bytes_per_s=0)
            await until_ready(source)
            assert [each.error for each in await mirror.finish(source.monitor, timeout_s=20)] == [None]
            await mirror.clear(source.monitor, (move,))
            await mirror.stop_serving(destination.monitor, (move.to,))

    asyncio.run(story())
    subprocess.run(["qemu-img", "compare", "-q", str(full), str(empty)], check=True)
    subprocess.run(["qemu-img", "check", "-q", str(empty)], check=True)
    assert empty.stat().st_blocks * 512 < SIZE * 3 // 4, "zeros take no room"


def test_a_copy_is_broken_off_and_nothing_is_left_of_it(full: Path, empty: Path, tmp_path: Path) -> None:
    move = DiskMove(disk=a_disk(full), to=a_disk(empty, format=DiskFormat.qcow2))

    async def story() -> None:
        async with daemon(tmp_path / "a") as machine:
            await open_disk(machine.monitor, "disk0", move.disk)
            await mirror.start(machine.monitor, move, server=None, encrypted=False, bytes_per_s=MIB)
            with pytest.raises(Failed, match="is not copied yet"):
                await mirror.finish(machine.monitor, timeout_s=20)
            for _ in range(2):
                await mirror.break_off(machine.monitor, (move,))
            assert await mirror.look(machine.monitor) == ()
            names = [each["node-name"] for each in await machine.monitor.execute("query-named-block-nodes", flat=True)]
            assert mirror.copy_node(move) not in names

    asyncio.run(story())


def test_a_disk_that_is_not_there_cannot_be_opened(tmp_path: Path) -> None:
    async def story() -> None:
        async with daemon(tmp_path / "a") as machine:
            with pytest.raises(Failed, match=r"nowhere\.raw"):
                await open_disk(machine.monitor, "disk0", a_disk(tmp_path / "nowhere.raw"))

    asyncio.run(story())

"""Disks mirrored by real QEMUs: between a daemon and one that waits for its VM, and within one."""

from __future__ import annotations

import asyncio
import os
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest

from godwit.core.errors import Failed
from godwit.core.model import MIB, Disk, DiskFormat, DiskMove
from godwit.qemu import disk_key, mirror, storage_daemon
from godwit.qemu.blocks import open_disk
from godwit.qemu.machine import Machine
from godwit.qemu.monitor import Monitor
from godwit.storage import images

SIZE = 8 * MIB


def a_disk(path: Path, *, format: DiskFormat = DiskFormat.raw, **more: bool) -> Disk:
    return Disk(name="data", datastore="local", path=str(path), size_bytes=SIZE, format=format, **more)


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
    with path.open("wb") as file:
        file.seek(SIZE // 2)
        file.write(os.urandom(SIZE // 2))
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
            assert [each.error for each in await mirror.finish(source.monitor, timeout_s=60)] == [None]
            await mirror.clear(source.monitor, (move,))
            await mirror.stop_serving(destination.monitor, (move.to,))

    asyncio.run(story())
    subprocess.run(["qemu-img", "compare", "-q", str(full), str(empty)], check=True)
    subprocess.run(["qemu-img", "check", "-q", str(empty)], check=True)
    assert empty.stat().st_blocks * 512 < SIZE * 3 // 4, "zeros take no room"


@pytest.mark.parametrize("over_the_network", [False, True])
@pytest.mark.parametrize("preallocated", [False, True])
def test_a_copy_takes_what_its_disk_holds_or_all_its_room(
    full: Path, tmp_path: Path, over_the_network: bool, preallocated: bool
) -> None:
    copy = tmp_path / "copy.raw"
    asyncio.run(images.make_blank(copy, format=DiskFormat.raw, size_bytes=SIZE, preallocated=preallocated))
    move = DiskMove(disk=a_disk(full), to=a_disk(copy, preallocated=preallocated))

    async def story() -> None:
        async with daemon(tmp_path / "a") as source, daemon(tmp_path / "b") as destination:
            await open_disk(source.monitor, "disk0", move.disk)
            at = None
            if over_the_network:
                await open_disk(destination.monitor, "disk0", move.to)
                at = await mirror.serve(destination.monitor, (move.to,), address="127.0.0.1", encrypted=False)
            await mirror.start(source.monitor, move, server=at, encrypted=False, bytes_per_s=0)
            await until_ready(source)
            await mirror.finish(source.monitor, timeout_s=60)
            await mirror.clear(source.monitor, (move,))

    asyncio.run(story())
    assert copy.read_bytes() == full.read_bytes()
    taken = copy.stat().st_blocks * 512
    assert (taken >= SIZE) if preallocated else (taken <= SIZE // 2 + MIB), taken


def test_a_disk_that_reads_from_an_image_is_made_whole(full: Path, empty: Path, tmp_path: Path) -> None:
    """What differs from the image, and what does not."""
    linked = tmp_path / "linked.qcow2"
    words = ["-q", "-f", "qcow2", "-b", str(full), "-F", "raw", str(linked), str(SIZE)]
    subprocess.run(["qemu-img", "create", *words], check=True)
    subprocess.run(["qemu-io", "-c", "write -P 7 1M 64k", str(linked)], check=True, capture_output=True)
    move = DiskMove(disk=a_disk(linked, format=DiskFormat.qcow2), to=a_disk(empty, format=DiskFormat.qcow2))

    async def story() -> None:
        async with daemon(tmp_path / "a") as machine:
            await open_disk(machine.monitor, "disk0", move.disk)
            await mirror.start(machine.monitor, move, server=None, encrypted=False, bytes_per_s=0)
            await until_ready(machine)
            await mirror.hold_equal(machine.monitor)
            await mirror.demand_equal(machine.monitor, timeout_s=60)
            await mirror.finish(machine.monitor, timeout_s=60)

    asyncio.run(story())
    subprocess.run(["qemu-img", "compare", "-q", str(linked), str(empty)], check=True)
    told = subprocess.run(["qemu-img", "info", str(empty)], check=True, capture_output=True, text=True).stdout
    assert "backing" not in told


def test_a_copy_is_broken_off_and_nothing_is_left_of_it(full: Path, empty: Path, tmp_path: Path) -> None:
    move = DiskMove(disk=a_disk(full), to=a_disk(empty, format=DiskFormat.qcow2))

    async def story() -> None:
        async with daemon(tmp_path / "a") as machine:
            await open_disk(machine.monitor, "disk0", move.disk)
            await mirror.start(machine.monitor, move, server=None, encrypted=False, bytes_per_s=MIB // 16)
            with pytest.raises(Failed, match="is not copied yet"):
                await mirror.demand_equal(machine.monitor, timeout_s=60)
            with pytest.raises(Failed, match="is not copied yet"):
                await mirror.finish(machine.monitor, timeout_s=60)
            for _ in range(2):
                await mirror.break_off(machine.monitor, (move,))
            assert await mirror.look(machine.monitor) == ()
            names = [each["node-name"] for each in await machine.monitor.execute("query-named-block-nodes", flat=True)]
            assert mirror.copy_node(move) not in names

    asyncio.run(story())


def test_a_qemu_that_ends_while_it_is_asked_does_not_say_that_it_uses_no_copy(tmp_path: Path) -> None:
    disk = a_disk(tmp_path / "copy.raw")

    async def execute(command: str, **_: object) -> list[object]:
        if command == "query-block":
            return [{"inserted": {"node-name": "to-copy"}}]
        raise Failed("QEMU has exited")

    with pytest.raises(Failed, match="has exited"):
        asyncio.run(mirror.uses(cast(Monitor, SimpleNamespace(execute=execute)), disk))


def test_a_disk_that_is_not_there_cannot_be_opened(tmp_path: Path) -> None:
    async def story() -> None:
        async with daemon(tmp_path / "a") as machine:
            with pytest.raises(Failed, match=r"nowhere\.raw"):
                await open_disk(machine.monitor, "disk0", a_disk(tmp_path / "nowhere.raw"))

    asyncio.run(story())

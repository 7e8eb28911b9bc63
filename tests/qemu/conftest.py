"""QEMU for the tests: firmware without a disk or a kernel is guest enough, and starts at once."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from godwit.core.model import Accelerator, Image, Pinned, VmSpec
from godwit.qemu.cmdline import Launch
from godwit.qemu.machine import Machine

BINARY = os.environ.get("GODWIT_TEST_QEMU", "qemu-system-x86_64")
START_S = 60.0


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
def launch() -> Iterator[Launch]:
    """A small VM whose run directory has a path short enough for sockets, and is gone afterwards."""
    directory = Path(tempfile.mkdtemp(prefix="gw"))
    yield Launch(
        binary=BINARY,
        firmware_dir=None,
        run_dir=directory / "vm",
        spec=VmSpec(
            name="vm",
            uuid="6f1c7d7e-0f3f-4a55-8f2e-0123456789ab",
            memory_mib=64,
            cpus=1,
            image=Image(name="none", kernel="", initrd=""),
        ),
        pinned=Pinned(machine="pc-q35-7.2", cpu_model="Nehalem-v1", accelerator=Accelerator.tcg),
    )
    shutil.rmtree(directory)


@pytest.fixture
async def machine(launch: Launch) -> AsyncIterator[Machine]:
    """That VM, running."""
    machine = await Machine.start(launch, env={}, timeout_s=START_S)
    yield machine
    await machine.retire()


@pytest.fixture
async def receiver(launch: Launch) -> AsyncIterator[Machine]:
    """The same VM at the other end: it waits for a memory stream."""
    waiting = replace(launch, run_dir=launch.run_dir.with_name("receiver"), incoming=True)
    machine = await Machine.start(waiting, env={}, timeout_s=START_S)
    yield machine
    await machine.retire()

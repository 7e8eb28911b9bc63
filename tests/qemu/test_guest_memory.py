"""A guest's memory, asked from the kernel and from a real QEMU."""

from __future__ import annotations

import asyncio
import os

import pytest

from godwit.qemu.guest_memory import dirtied, resident_bytes
from godwit.qemu.machine import Machine

pytestmark = [pytest.mark.anyio, pytest.mark.lab]

MEMORY = 64 * 2**20


async def test_what_the_guest_touched_and_how_fast_it_writes_can_be_told(machine: Machine) -> None:
    async with asyncio.timeout(60):
        while not (touched := resident_bytes(machine.qemu_pid, MEMORY)):  # noqa: ASYNC110 - nobody tells
            await asyncio.sleep(0.05)
    ((seconds, written),) = await dirtied(machine.monitor, (1000,), memory_bytes=MEMORY)

    assert touched <= MEMORY
    assert seconds == 1
    assert 0 <= written <= MEMORY


async def test_a_length_that_qemu_does_not_know_is_left_out(machine: Machine) -> None:
    told = await dirtied(machine.monitor, (100,), memory_bytes=MEMORY)

    assert [seconds for seconds, _ in told] in ([], [0.1])


def test_a_process_without_such_memory_has_none() -> None:
    assert resident_bytes(os.getpid(), 2**50) == 0

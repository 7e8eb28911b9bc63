"""Where a card's receive queue is, by the words of QEMU 7.2 and 10."""

from __future__ import annotations

from typing import Any, cast

import pytest

from godwit.core.errors import Failed
from godwit.qemu.machine import Machine
from godwit.qemu.monitor import Monitor
from godwit.qemu.receive_ring import ReceiveRing, receive_ring

pytestmark = pytest.mark.anyio

QUEUE = {"vring-num": 256, "vring-desc": 0x1000, "vring-avail": 0x2000, "vring-used": 0x3000, "used-idx": 7}
LOW = "Host virtual address for 0x100000 (memory) is 0x7f0000100000\r\n"
HIGH = "Host virtual address for 0x100000000 (memory) is 0x7f0080000000\r\n"
NOTHING = "No memory is mapped at address 0x100000000\r\n"


class Answering:
    """A monitor that knows these answers only."""

    def __init__(self, queue: dict[str, Any] | None, low: str, high: str) -> None:
        self._queue = queue
        self._said = {"gpa2hva 0x100000": low, "gpa2hva 0x100000000": high}

    async def execute(self, command: str, arguments: dict[str, Any] | None = None, **words: Any) -> Any:
        if command == "human-monitor-command":
            return self._said[(arguments or {})["command-line"]]
        if self._queue is None:
            raise Failed("The command x-query-virtio-queue-status has not been found")
        assert words == {"path": "/machine/peripheral/nic1/virtio-backend", "queue": 0}
        return self._queue


async def asked(queue: dict[str, Any] | None = QUEUE, low: str = LOW, high: str = NOTHING) -> ReceiveRing | None:
    return await receive_ring(cast(Monitor, Answering(queue, low, high)), "nic1")


async def test_of_a_small_guest_and_of_a_large_one() -> None:
    assert await asked() == ReceiveRing(256, 0x1000, 0x3000, low_at=0x7F0000000000, high_at=None)
    large = await asked(high=HIGH)
    assert large is not None
    assert large.high_at is not None
    assert large.high_at + (1 << 32) == 0x7F0080000000


async def test_where_there_is_none() -> None:
    assert await asked(queue=None) is None
    assert await asked(queue=QUEUE | {"vring-desc": 0}) is None
    assert await asked(low=NOTHING) is None


@pytest.mark.lab
async def test_a_qemu_without_that_card(machine: Machine) -> None:
    assert await receive_ring(machine.monitor, "nic0") is None

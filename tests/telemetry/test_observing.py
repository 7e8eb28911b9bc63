"""What is logged during an order names its migration."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

from pydantic import BaseModel
from structlog.contextvars import get_contextvars

from godwit.contract.host import Meet, Met, Nothing, Order
from godwit.telemetry.observing import observed

ORDER = Order(migration="m7", attempt=1, epoch=1, vm="web-1")
NAMED = {"migration": "m7", "vm": "web-1"}


class Listener:
    """Remembers what a log line would have carried."""

    def __init__(self) -> None:
        self.seen: list[dict[str, object]] = []

    async def release(self, request: Order, /) -> Nothing:
        self.seen.append(get_contextvars())
        await asyncio.create_task(self._later())
        return Nothing()

    async def meet(self, request: Meet, /) -> Met:
        self.seen.append(get_contextvars())
        return Met(unix_ms=0, ready=True)

    async def facts(self, request: Nothing, /) -> Nothing:
        self.seen.append(get_contextvars())
        return request

    async def copy(self, request: Order, /) -> AsyncIterator[Nothing]:
        for _ in range(2):
            self.seen.append(get_contextvars())
            yield Nothing()

    async def _later(self) -> None:
        self.seen.append(get_contextvars())


def test_orders_streams_and_what_they_start_carry_it() -> None:
    told: list[tuple[BaseModel, BaseModel]] = []
    listener = Listener()

    async def story() -> None:
        host = observed(listener, lambda request, answer: told.append((request, answer)))
        await host.release(ORDER)
        await host.meet(Meet(order=ORDER))
        async for _ in host.copy(ORDER):
            pass
        await host.facts(Nothing())
        assert get_contextvars() == {}

    asyncio.run(story())
    assert listener.seen == [NAMED] * 5 + [{}]
    assert [type(answer) for _, answer in told] == [Nothing, Met, Nothing]

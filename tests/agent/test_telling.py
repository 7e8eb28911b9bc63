"""A telling can be listened to late, twice, and to its end."""

from __future__ import annotations

import asyncio

import pytest

from godwit.agent.telling import Telling
from godwit.core.errors import Failed
from godwit.core.migration import EventKind
from godwit.testing.clock import run


async def texts(telling: Telling) -> list[str]:
    return [event.text async for event in telling.follow()]


def test_every_listener_hears_everything() -> None:
    async def story() -> None:
        telling = Telling("m1")
        telling.tell(EventKind.decided, "one")
        early = asyncio.create_task(texts(telling))
        await asyncio.sleep(1)
        telling.tell(EventKind.decided, "two")
        telling.finish()

        assert await early == ["one", "two"]
        assert await texts(telling) == ["one", "two"]

    run(story())


def test_an_error_ends_it_after_what_was_told() -> None:
    async def story() -> None:
        telling = Telling("m1")
        telling.tell(EventKind.decided, "one")
        telling.finish(Failed("broke"))
        telling.finish()

        with pytest.raises(Failed, match="broke"):
            await texts(telling)

    run(story())

"""A relay that stands while nobody can listen to the uplinks: Open vSwitch restarts."""

from __future__ import annotations

import asyncio
import logging
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from godwit.agent.standing import Standing
from godwit.core.errors import Unreachable


class Switch:
    """It answers, or does not; it has no uplinks."""

    is_down = True

    async def uplinks(self) -> tuple[str, ...]:
        if self.is_down:
            raise Unreachable("ovs-vswitchd does not answer")
        return ()


def test_an_outage_is_told_once(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    switch, heard = Switch(), SimpleNamespace(close=lambda: None)
    monkeypatch.setattr("godwit.agent.standing.Witness", lambda *_: heard)
    plug = SimpleNamespace(mac="52:54:00:00:00:01", switch=switch)
    relayed = SimpleNamespace(sighted=(), learned_at_unix_ms=None)
    record: Any = SimpleNamespace(request=SimpleNamespace(vm="web"), plugs=(plug,), relayed=relayed)
    standing = Standing(record, cast(Any, None), host="host-a", file=Path("/nowhere"))

    async def story() -> None:
        for is_down in (True, True, True, False, True, True):
            switch.is_down = is_down
            await standing._listen()
            if not is_down:
                standing._close_witnesses()

    with caplog.at_level(logging.WARNING, logger="godwit.agent"):
        asyncio.run(story())
    told = "nobody sees web come in by the uplinks yet: ovs-vswitchd does not answer"
    assert [each.getMessage() for each in caplog.records] == [told, told]

"""Whoever relays to a VM that is switched off is told; a host that does not answer is let be."""

from __future__ import annotations

import asyncio
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from godwit.agent import relays
from godwit.agent.relaying import Relay
from godwit.agent.relays import Relays
from godwit.contract.host import Order, Peer
from godwit.core.config import AgentConfig, Tls
from godwit.core.errors import Unreachable
from godwit.testing.world import COMES

NOWHERE = Path("/nowhere")


def relays_of(peer: Any) -> Relays:
    config = AgentConfig(
        host="host-b",
        listen=("127.0.0.1:1",),
        migration_address="127.0.0.1",
        tls=Tls(ca=NOWHERE, certificate=NOWHERE, key=NOWHERE),
    )
    return Relays(config, lambda host, address: cast(Peer, peer))


def tell(peer: Any) -> None:
    asyncio.run(relays_of(peer).end_of(COMES))


def test_the_source_is_told_which_move_it_was() -> None:
    told: list[Order] = []

    async def vm_is_off(order: Order, /) -> None:
        told.append(order)

    tell(SimpleNamespace(vm_is_off=vm_is_off))
    assert told == [COMES.order()]


@pytest.mark.parametrize("hangs", [True, False])
def test_a_source_that_does_not_answer_is_let_be(hangs: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(relays, "TELL_S", 0.01)

    async def vm_is_off(order: Order, /) -> None:
        if not hangs:
            raise Unreachable("no answer")
        await asyncio.get_running_loop().create_future()

    tell(SimpleNamespace(vm_is_off=vm_is_off))


def test_a_relay_of_which_nobody_told_ends_when_its_vm_starts_here() -> None:
    ended: list[bool] = []

    async def end(*, anyway: bool) -> None:
        ended.append(anyway)

    here = relays_of(None)
    here._all[COMES.vm] = cast(Relay, SimpleNamespace(end=end))
    asyncio.run(here.end_here(COMES.vm))
    asyncio.run(here.end_here("another"))
    assert ended == [True]

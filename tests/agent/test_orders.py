"""An order whose caller has left goes on: what undoes it waits until there is something to undo."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from godwit.agent.agent import Agent
from godwit.contract.host import OutgoingReady, PrepareIncoming
from godwit.core.config import AgentConfig, Tls
from godwit.core.errors import TimedOut
from godwit.core.ownership import Cue
from godwit.testing.world import COMES, GOES, ORDER, SPEC

pytestmark = pytest.mark.anyio

NOWHERE = Path("/nowhere")


@pytest.fixture
async def agent(tmp_path: Path) -> Agent:
    config = AgentConfig(
        host="host-a",
        listen=("127.0.0.1:1",),
        migration_address="127.0.0.1",
        state_dir=tmp_path / "state",
        run_dir=tmp_path / "run",
        tls=Tls(ca=NOWHERE, certificate=NOWHERE, key=NOWHERE),
        observe=False,
    )
    (tmp_path / "state" / "vms" / SPEC.name).mkdir(parents=True)

    async def qemu() -> Any:
        raise AssertionError

    return Agent(config, qemu=qemu, peers=lambda host, address: cast(Any, SimpleNamespace()))


class Work:
    """What an order does, which takes until it is let go on."""

    def __init__(self) -> None:
        self.diary: list[str] = []
        self.begun = asyncio.Event()
        self.may_end = asyncio.Event()

    def __call__(self, name: str) -> Callable[..., Awaitable[None]]:
        async def do(*_: object, **__: object) -> None:
            self.diary.append(name)

        return do

    async def slowly(self, name: str) -> None:
        self.begun.set()
        await self.may_end.wait()
        self.diary.append(name)

    async def overtaken_by(self, undo: Awaitable[object], order: Awaitable[object]) -> None:
        """The order is under way when it is undone."""
        first = asyncio.ensure_future(order)
        await self.begun.wait()
        second = asyncio.ensure_future(undo)
        for _ in range(10):
            await asyncio.sleep(0)
        assert not second.done(), "nothing can be said of what is still being made"
        self.may_end.set()
        await asyncio.gather(first, second)


async def test_an_arrival_under_way_is_ended_when_it_is_undone(agent: Agent, monkeypatch: pytest.MonkeyPatch) -> None:
    work = Work()

    async def arrive(_: object, request: PrepareIncoming) -> Any:
        await work.slowly("arrived")
        vm = SimpleNamespace(passport=SimpleNamespace(plugs=(), uri="tcp:192.0.2.2:4444"))
        return SimpleNamespace(order=request.order(), vm=vm, window=None, abort=work("aborted"))

    monkeypatch.setattr("godwit.agent.agent.arrive", arrive)
    await work.overtaken_by(agent.abort_incoming(ORDER), agent.prepare_incoming(COMES))
    await agent.abort_incoming(ORDER)

    assert work.diary == ["arrived", "aborted"]


async def test_an_arrival_that_is_ordered_again_meanwhile_is_made_once(
    agent: Agent, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The answer to the first order got lost."""
    work = Work()

    async def arrive(_: object, request: PrepareIncoming) -> Any:
        await work.slowly("arrived")
        vm = SimpleNamespace(passport=SimpleNamespace(plugs=(), uri="tcp:192.0.2.2:4444"))
        return SimpleNamespace(order=request.order(), vm=vm, window=None)

    monkeypatch.setattr("godwit.agent.agent.arrive", arrive)
    await work.overtaken_by(agent.prepare_incoming(COMES), agent.prepare_incoming(COMES))

    assert work.diary == ["arrived"]


@pytest.mark.parametrize("undo", ["release", "abort_outgoing"])
async def test_a_relay_under_way_is_made_before_it_is_removed(
    agent: Agent, undo: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    work = Work()

    async def prepare(*_: object) -> tuple[str, ...]:
        await work.slowly("relay")
        return ()

    async def ready() -> OutgoingReady:
        return OutgoingReady(clock_offset_ms=0.0, clock_error_ms=0.1)

    outgoing = SimpleNamespace(order=ORDER, window=None, prepare=ready, abort=work("aborted"))
    vm = SimpleNamespace(passport=SimpleNamespace(plugs=()), name=SPEC.name)
    agent._vms.owner(SPEC.name).take(Cue.started)
    monkeypatch.setattr(agent._vms, "get", lambda _: vm)
    monkeypatch.setattr(agent._vms, "note", lambda *_, **__: None)
    monkeypatch.setattr(agent._relays, "prepare", prepare)
    monkeypatch.setattr(agent._relays, "end", work("no relay"))
    monkeypatch.setattr(agent, "_outgoing_for", lambda _: outgoing)
    agent._moving[SPEC.name] = ORDER
    await work.overtaken_by(getattr(agent, undo)(ORDER), agent.prepare_outgoing(GOES))

    assert work.diary == ["relay", *(["no relay"] if undo == "release" else []), "aborted"]


async def test_files_under_way_are_made_before_they_are_removed(agent: Agent, monkeypatch: pytest.MonkeyPatch) -> None:
    work = Work()
    monkeypatch.setattr(agent._placing, "place", lambda _: work.slowly("placed"))
    monkeypatch.setattr(agent._placing, "discard", work("discarded"))
    await work.overtaken_by(agent.discard_disks(ORDER), agent.place_disks(cast(Any, ORDER)))

    assert work.diary == ["placed", "discarded"]


async def test_a_source_whose_qemu_did_not_end_is_retired_when_asked_again(
    agent: Agent, monkeypatch: pytest.MonkeyPatch
) -> None:
    owner, work = agent._vms.owner(SPEC.name), Work()
    for cue in (Cue.started, Cue.offered, Cue.completed, Cue.answered_running):
        owner.take(cue, migration="m1", epoch=1)
    here = [True]

    async def stop(_: object) -> None:
        work.diary.append("stopped")
        if len(work.diary) == 1:
            raise TimedOut("it does not end")
        here.clear()

    monkeypatch.setattr(agent._vms, "stop", stop)
    monkeypatch.setattr(agent._vms, "has", lambda _: bool(here))
    monkeypatch.setattr(agent._mirroring, "let_go", Work()(""))
    belongings = SimpleNamespace(sent=Work()(""))
    agent._outgoing[SPEC.name] = cast(Any, SimpleNamespace(order=ORDER, close=Work()(""), belongings=belongings))
    with pytest.raises(TimedOut):
        await agent.retire(ORDER)
    for _ in range(2):
        await agent.retire(ORDER)

    assert work.diary == ["stopped", "stopped"]

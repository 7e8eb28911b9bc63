"""A VM on its way out whose copying goes wrong after it was said to be ready: the reason is told, and at once."""

from __future__ import annotations

import asyncio
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from tests.agent.quiet_monitor import QuietMonitor

from godwit.agent.local import LocalVm, Passport
from godwit.agent.outgoing import Outgoing
from godwit.agent.owner import Owner
from godwit.contract.host import Nothing, Order, Peer
from godwit.core.errors import Failed
from godwit.core.model import VmState
from godwit.core.ownership import Cue, Ownership
from godwit.host.journal_file import JournalFile
from godwit.qemu.evidence import History, LoggedEvent
from godwit.qemu.machine import Machine
from godwit.qemu.monitor import QmpEvent
from godwit.testing.world import GOES, PINNED, SPEC

pytestmark = pytest.mark.anyio


class Qemu(QuietMonitor):
    """Sends, and never switches over; its stream fails when it is broken off, which is refused the first time."""

    run_dir = Path("/nowhere")

    def __init__(self) -> None:
        super().__init__()
        self.gone = asyncio.Event()
        self.monitor = self
        self.events: asyncio.Queue[QmpEvent] = asyncio.Queue()
        self.status = "active"
        self.yanks = 0
        self.said: tuple[LoggedEvent, ...] = ()

    async def __anext__(self) -> QmpEvent:
        return await self.events.get()

    async def history(self) -> History:
        return History(self.said, is_alive=True)

    async def runstate(self) -> str:
        return "running"

    async def execute(self, *_: object, **__: object) -> dict[str, Any]:
        return {"status": self.status}

    async def execute_oob(self, command: str, **_: object) -> Any:
        if command == "yank":
            self.yanks += 1
            if self.yanks == 1:
                raise Failed("not yet")
            self.status = "failed"
            self.events.put_nowait(QmpEvent("MIGRATION", {"status": "failed"}, 0.0))
        return []


class Governor:
    """Finds after it was ready that nothing goes any more."""

    passes = ()

    def __init__(self, outgoing: Outgoing) -> None:
        self._outgoing = outgoing

    async def run(self) -> None:
        self._outgoing._telling.finish()
        raise Failed("web-1 was not moved and runs on where it was: the stream took nothing", "stream-stalled")

    async def allow(self) -> None:
        pass


async def nothing(*_: object) -> Nothing:
    return Nothing()


def a_vm_that_is_sent(directory: Path) -> tuple[LocalVm, Qemu]:
    owner, qemu = Owner(JournalFile(directory / "journal"), boot_id="boot"), Qemu()
    owner.take(Cue.started)
    owner.take(Cue.offered, migration="m1", epoch=1)
    return LocalVm(Passport(spec=SPEC, pinned=PINNED), owner, cast(Machine, qemu), VmState.running), qemu


async def test_a_stream_that_stalls_once_it_was_ready_is_broken_off_for_that_reason(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("godwit.agent.outgoing.BREAK_AGAIN_S", 0.001)
    vm, qemu = a_vm_that_is_sent(tmp_path)
    aborted: list[Order] = []

    async def abort(order: Order, /) -> Nothing:
        aborted.append(order)
        return Nothing()

    outgoing = Outgoing(vm, GOES, cast(Peer, SimpleNamespace(abort=abort)))
    outgoing._governor = cast(Any, Governor(outgoing))
    outgoing.belongings = cast(Any, SimpleNamespace(send=nothing, undo=nothing))
    async with asyncio.timeout(60):
        with pytest.raises(Failed, match="the stream took nothing") as stalled:
            await outgoing.hand_over()
        await outgoing.abort()

    assert stalled.value.code == "stream-stalled"
    assert (vm.owner.state, qemu.yanks) == (Ownership.own, 2)
    assert aborted == [GOES.order()]


async def test_an_agent_that_was_restarted_knows_when_the_copying_began(tmp_path: Path) -> None:
    vm, qemu = a_vm_that_is_sent(tmp_path)
    said = [("MIGRATION", "setup", 7.0), ("MIGRATION", "failed", 9.0), ("MIGRATION", "setup", 1e6)]
    qemu.said = tuple(LoggedEvent(n, QmpEvent(e, {"status": s}, at)) for n, (e, s, at) in enumerate(said, 1))
    outgoing = Outgoing(vm, GOES, cast(Peer, SimpleNamespace()))
    outgoing._governor.run = asyncio.Event().wait  # type: ignore[assignment]
    await outgoing.resume()
    await outgoing.close()

    assert outgoing._began_ms == 1e6

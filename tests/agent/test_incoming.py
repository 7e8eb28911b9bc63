"""A VM on its way in, whose journal or QEMU fails meanwhile: what could not be done is done later."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path
from typing import Any, cast

import pytest
from tests.agent.quiet_monitor import QuietMonitor

from godwit.agent.incoming import Incoming
from godwit.agent.local import LocalVm, Passport
from godwit.agent.owner import Owner
from godwit.agent.vms import Vms
from godwit.contract.host import Go
from godwit.core.config import Waits
from godwit.core.errors import Failed, TimedOut, Unreachable
from godwit.core.model import VmState
from godwit.core.ownership import Cue, Record
from godwit.host.journal_file import JournalFile
from godwit.qemu.evidence import History
from godwit.qemu.machine import Machine
from godwit.testing.world import COMES, PINNED, SPEC

pytestmark = pytest.mark.anyio


class Disk(JournalFile):
    """A journal's, which may be full."""

    refusals = 0

    def append(self, record: Record, /, *, durable: bool) -> None:
        if self.refusals:
            self.refusals -= 1
            raise Failed("no room", "disk-full")
        super().append(record, durable=durable)


class Qemu(QuietMonitor):
    """Waits for a stream of which nothing comes."""

    qemu_pid = 0
    run_dir = Path("/nowhere")

    def __init__(self) -> None:
        super().__init__()
        self.gone = asyncio.Event()
        self.monitor = self
        self.silences = 0

    async def history(self) -> History:
        if self.silences:
            self.silences -= 1
            raise Unreachable("its keeper is lost")
        return History((), is_alive=True)

    async def runstate(self) -> str:
        return "inmigrate"

    async def execute(self, _: str) -> dict[str, Any]:
        return {"status": "active"}


class Here:
    """Stands for the VMs of the host: the first QEMU does not end at once."""

    def __init__(self) -> None:
        self.ended = 0
        self.parted: list[VmState] = []

    async def retire(self, vm: LocalVm) -> None:
        self.ended += 1
        if self.ended == 1:
            raise TimedOut("it does not end")

    def tell(self, vm: LocalVm, state: VmState) -> None:
        assert state == VmState.running

    def part(self, vm: LocalVm, state: VmState) -> None:
        self.parted.append(state)


def armed(disk: Disk, qemu: Qemu, here: Here) -> Incoming:
    owner = Owner(disk, boot_id="boot")
    owner.take(Cue.armed, migration="m1", epoch=1)
    waits = Waits(look_s=0.001, stall_s=0.002)
    passport = Passport(spec=SPEC, pinned=PINNED, uri="tcp:127.0.0.1:1")
    vm = LocalVm(passport, owner, cast(Machine, qemu), VmState.migrating, waits=waits)
    return Incoming(cast(Vms, here), vm, COMES)


@pytest.mark.parametrize("trouble", ["the disk is full", "the keeper is lost"])
async def test_a_token_that_cannot_be_given_back_now_is_given_back_later(trouble: str, tmp_path: Path) -> None:
    disk, qemu = Disk(tmp_path / "journal"), Qemu()
    incoming = armed(disk, qemu, Here())
    await incoming.listen()
    await incoming.course.take(Cue.went, count=1)
    disk.refusals, qemu.silences = (3, 0) if trouble == "the disk is full" else (0, 20)
    async with asyncio.timeout(60):
        answer = await incoming.go(Go(**COMES.order().model_dump(), count=1))
    await incoming.close()

    assert answer.verdict == "returned"
    assert (disk.refusals, qemu.silences) == (0, 0)


async def test_a_qemu_that_did_not_end_is_ended_when_it_is_asked_again(tmp_path: Path) -> None:
    here = Here()
    incoming = armed(Disk(tmp_path / "journal"), Qemu(), here)
    with pytest.raises(TimedOut):
        await incoming.abort()
    for _ in range(2):
        await incoming.abort()

    assert here.ended == 2
    assert here.parted == [VmState.stopped]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may put anything first")
async def test_what_arrives_gets_a_cpu_first_until_it_is_warm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("godwit.agent.incoming.FOREMOST_S", 0.01)
    qemu = Qemu()
    incoming = armed(Disk(tmp_path / "journal"), qemu, Here())
    program = await asyncio.create_subprocess_exec("sleep", "1000", start_new_session=True)
    try:
        qemu.qemu_pid = program.pid
        await incoming.listen()
        await incoming.go(Go(**COMES.order().model_dump(), count=1))
        assert os.getpriority(os.PRIO_PROCESS, program.pid) < 0

        await incoming.close()
        incoming = armed(Disk(tmp_path / "another"), qemu, Here())
        for cue in (Cue.went, Cue.loaded, Cue.resumed):
            incoming.vm.owner.take(cue, count=1)
        answer = await incoming.go(Go(**COMES.order().model_dump(), count=1))
        assert answer.verdict == "running"
        async with asyncio.timeout(60):
            while os.getpriority(os.PRIO_PROCESS, program.pid):  # noqa: ASYNC110 - nobody tells of it
                await asyncio.sleep(0.01)
    finally:
        program.kill()
        await program.wait()
        await incoming.close()

"""VMs started and stopped while something goes wrong: what nobody owns is gone, and what runs is known to."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from tests.agent.quiet_monitor import QuietMonitor

from godwit.agent.local import Place, Plug
from godwit.agent.room import Room
from godwit.agent.vms import Vms
from godwit.contract.host import StartVm, StopVm
from godwit.core.config import AgentConfig, Tls
from godwit.core.errors import Failed
from godwit.core.model import VmState
from godwit.core.ownership import Ownership
from godwit.host.journal_file import JournalFile
from godwit.testing.world import PINNED, SPEC

pytestmark = pytest.mark.anyio

NOWHERE = Path("/nowhere")
START = StartVm(spec=SPEC, pinned=PINNED)


class Machine:
    """A QEMU of which only its life is of interest."""

    qemu_pid = keeper_pid = 4_000_000
    qemu_start_ticks = 1
    agent_socket = NOWHERE
    run_dir = NOWHERE

    def __init__(self) -> None:
        self.monitor = QuietMonitor()
        self.gone = asyncio.Event()

    async def powerdown(self) -> None:
        self.gone.set()
        raise Failed("QEMU has exited")

    async def retire(self) -> None:
        self.gone.set()

    async def close(self) -> None:
        pass


@pytest.fixture
async def machine(monkeypatch: pytest.MonkeyPatch) -> Machine:
    launched = Machine()

    async def launch(*_: object, **__: object) -> tuple[Machine, tuple[Plug, ...]]:
        return launched, ()

    monkeypatch.setattr("godwit.agent.vms.launch", launch)
    return launched


@pytest.fixture
def vms(tmp_path: Path) -> Vms:
    config = AgentConfig(
        host="host-a",
        listen=("192.0.2.1:7411",),
        migration_address="192.0.2.1",
        state_dir=tmp_path / "state",
        run_dir=tmp_path / "run",
        tls=Tls(ca=NOWHERE, certificate=NOWHERE, key=NOWHERE),
    )
    return Vms(config, Room("host-a", 1000))


@pytest.mark.parametrize("full", ["passport", "journal"])
async def test_a_vm_that_cannot_be_written_down_does_not_run(
    vms: Vms, machine: Machine, full: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def cannot(*_: object, **__: object) -> None:
        raise Failed("no room", "disk-full")

    with monkeypatch.context() as patched:
        patched.setattr(*{"passport": (Place, "write_passport"), "journal": (JournalFile, "append")}[full], cannot)
        with pytest.raises(Failed, match="no room"):
            await vms.start(START)

    assert machine.gone.is_set(), "it would run unowned"
    assert not Place.of(vms.config, SPEC.name).passport.exists()
    assert vms.owner(SPEC.name).state == Ownership.closed

    machine.gone.clear()
    assert (await vms.start(START)).owned, "once there is room"
    await vms.close()


async def test_a_guest_that_switches_off_at_once_is_off(vms: Vms, machine: Machine) -> None:
    """QEMU answers that it exits, to whoever presses the button just then."""
    await vms.start(START)
    status = await vms.stop(StopVm(name=SPEC.name))
    await vms.close()

    assert status.state == VmState.stopped
    assert vms.statuses() == []
    assert vms.owner(SPEC.name).state == Ownership.died

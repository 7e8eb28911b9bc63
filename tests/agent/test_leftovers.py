"""What nobody needs is found; it is removed where no copy of a VM can be lost by that."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from godwit.agent import leftovers
from godwit.agent.room import Room
from godwit.agent.vms import Vms
from godwit.contract.host import Order
from godwit.core.config import AgentConfig, Tls
from godwit.core.leftover import Leftover
from godwit.core.ownership import Cue, Ownership
from godwit.host import process

pytestmark = pytest.mark.anyio

NOWHERE = Tls(ca=Path("/ca"), certificate=Path("/certificate"), key=Path("/key"))


@pytest.fixture
def vms(tmp_path: Path) -> Vms:
    config = AgentConfig(
        host="host-a",
        listen=("192.0.2.1:7411",),
        migration_address="192.0.2.1",
        state_dir=tmp_path / "state",
        run_dir=tmp_path / "run",
        tls=NOWHERE,
    )
    return Vms(config, Room("host-a", 1000))


def journal(vms: Vms, name: str, *cues: Cue) -> None:
    (vms.config.state_dir / "vms" / name).mkdir(parents=True)
    owner = vms.owner(name)
    for cue in cues:
        owner.take(cue, migration="m7", epoch=1)


def directory(vms: Vms, name: str) -> Path:
    path = vms.config.run_dir / "vms" / name
    path.mkdir(parents=True)
    return path


async def found(vms: Vms, *, repair: bool = False) -> dict[str, Leftover]:
    here = [
        each for each in await leftovers.find(vms, tunnels=set()) if str(vms.config.run_dir.parent) in each.told.where
    ]
    told = await leftovers.removed(here) if repair else tuple(each.told for each in here)
    return {each.what: each for each in told}


async def test_a_history_that_ended_is_no_leftover(vms: Vms) -> None:
    journal(vms, "web-1", Cue.started, Cue.ended)

    assert await found(vms) == {}


async def test_a_journal_without_its_qemu_is_told_that_it_died(vms: Vms) -> None:
    journal(vms, "web-1", Cue.started)

    assert (await found(vms))["journal of web-1"].why == "own, and no QEMU of it"
    assert (await found(vms, repair=True))["journal of web-1"].removed
    assert vms.owner("web-1").state == Ownership.died
    assert await found(vms) == {}


async def test_what_is_not_settled_is_a_persons_affair(vms: Vms) -> None:
    journal(vms, "web-1", Cue.started, Cue.offered, Cue.completed)
    directory(vms, "web-1")
    told = await found(vms, repair=True)

    assert set(told) == {"journal of web-1", "directory of web-1"}
    assert told["journal of web-1"].remedy == "settle its migration m7: see `godwit migration show`"
    assert not any(each.removed for each in told.values())
    assert vms.owner("web-1").state == Ownership.given


async def test_a_passport_and_a_directory_of_a_vm_that_is_over_are_removed(vms: Vms) -> None:
    journal(vms, "web-1", Cue.started, Cue.ended)
    passport = vms.config.state_dir / "vms" / "web-1" / "vm.json"
    passport.write_text("{}")
    left = directory(vms, "web-1")
    told = await found(vms, repair=True)

    assert [each.removed for each in told.values()] == [True, True]
    assert not passport.exists()
    assert not left.exists()


@contextmanager
def a_program_of(path: Path) -> Iterator[subprocess.Popen[bytes]]:
    """It was given a VM's directory, as a QEMU is."""
    with subprocess.Popen([sys.executable, "-c", "input()", str(path / "qmp.sock")], stdin=subprocess.PIPE) as program:
        try:
            yield program
        finally:
            program.kill()


async def test_a_qemu_that_may_be_the_last_copy_is_left_alone(vms: Vms) -> None:
    journal(vms, "web-1", Cue.started, Cue.offered)
    with a_program_of(directory(vms, "web-1")) as program:
        here = {each.told.what: each for each in await leftovers.find(vms, tunnels=set())}
        assert here["QEMU of web-1"].told.where == f"pid {program.pid}"
        assert here["QEMU of web-1"].remove is None
        assert "directory of web-1" not in here


async def test_what_was_begun_and_not_written_down_is_swept(vms: Vms) -> None:
    left = directory(vms, "web-1")
    with a_program_of(left) as program:
        (left / "qemu.json").write_text(
            json.dumps({"pid": program.pid, "start_ticks": process.start_ticks(program.pid)})
        )
        (left / "launch.json").write_text("{}")
        await leftovers.sweep(vms)
        assert program.wait(60) != 0
    assert not left.exists()


async def test_one_that_is_just_being_started_is_no_leftover(vms: Vms) -> None:
    with a_program_of(directory(vms, "web-1")):
        vms.claim("web-1")
        assert await found(vms) == {}
        vms.unclaim("web-1")


async def test_memory_kept_for_a_migration_that_is_over_is_freed() -> None:
    orders = {vm: Order(migration=migration, attempt=1, epoch=1, vm=vm) for vm, migration in (("a", "m1"), ("b", "m2"))}
    freed: list[Order] = []
    told = await leftovers.removed(leftovers.promises(orders, ("m2",), forget=freed.append))

    assert [(each.what, each.where, each.removed) for each in told] == [("reservation of a", "migration m1", True)]
    assert freed == [orders["a"]]


async def test_what_was_given_away_and_not_fetched_is_retired_when_its_migration_is_over() -> None:
    moved = [Order(migration=migration, attempt=1, epoch=1, vm=vm) for vm, migration in (("a", "m1"), ("b", "m2"))]
    retired: list[Order] = []

    async def retire(order: Order) -> None:
        retired.append(order)

    told = await leftovers.removed(leftovers.given_away(moved, ("m2",), retire=retire))

    assert [(each.what, each.where, each.removed) for each in told] == [("a, given away", "migration m1", True)]
    assert retired == moved[:1]


async def test_programs_are_looked_for_once_and_beside_the_loop(vms: Vms, monkeypatch: pytest.MonkeyPatch) -> None:
    looked: list[int] = []
    look = process.in_our_network

    def noted() -> Iterator[process.Seen]:
        looked.append(threading.get_ident())
        return look()

    monkeypatch.setattr(process, "in_our_network", noted)
    for name in ("web-1", "web-2"):
        directory(vms, name)

    assert len(await found(vms)) == 2
    assert len(looked) == 1
    assert looked[0] != threading.get_ident()

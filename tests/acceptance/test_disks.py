"""Disks that go, struck at each step, and twenty times round: no acknowledged record is lost, nothing is left."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
from tests.lab.disks import assert_whole, blocks, files, go, lab_with_disks

from godwit.core.migration import Migration
from godwit.core.model import VmState
from godwit.core.phase import Phase
from godwit.lab.scenario import Moving, Scenario, kill, wait_until
from godwit.lab.settings import Settings

pytestmark = [pytest.mark.acceptance, pytest.mark.lab, pytest.mark.timeout(1800)]

ROUNDS = int(os.environ.get("ROUNDS", "20"))
SLOW = ("--datastore", "local", "--bandwidth", "80mbit")
STEPS = {
    "disks": lambda migration: bool(migration.progress and migration.progress.disks),
    "memory": lambda migration: bool(migration.progress and not migration.progress.disks),
}
Strike = Callable[[Scenario, str, str, Moving], None]


@pytest.fixture(scope="module")
def lab() -> Iterator[Scenario]:
    with lab_with_disks(Settings(storage_node=True)) as scenario:
        yield scenario
        for log in sorted((scenario.lab.data_dir / "logs").glob("*.log")):
            print(f"--- {log.name}\n{log.read_text(errors='replace')}")


def source_agent(lab: Scenario, here: str, there: str, moving: Moving) -> None:
    lab.kill_daemon(here)


def destination_agent(lab: Scenario, here: str, there: str, moving: Moving) -> None:
    lab.kill_daemon(there)


def manager(lab: Scenario, here: str, there: str, moving: Moving) -> None:
    lab.kill_daemon("manager")


def all_daemons(lab: Scenario, here: str, there: str, moving: Moving) -> None:
    lab.kill_daemon("manager", here, there)


def source_keeper(lab: Scenario, here: str, there: str, moving: Moving) -> None:
    kill(lab.keeper_pid("web", here))


def destination_qemu(lab: Scenario, here: str, there: str, moving: Moving) -> None:
    kill(lab.qemu_pid("web", there))


def migration_link(lab: Scenario, here: str, there: str, moving: Moving) -> None:
    lab.fault(f"migration-link-down:{there}", on=True)


def cancelled(lab: Scenario, here: str, there: str, moving: Moving) -> None:
    lab.demand("migration", "cancel", moving.id)


GO_ON = {source_agent, destination_agent, manager, all_daemons}
"""What was copied goes on as if nothing had happened."""
STRIKES = (
    source_agent,
    destination_agent,
    manager,
    all_daemons,
    source_keeper,
    destination_qemu,
    migration_link,
    cancelled,
)


@contextmanager
def running(lab: Scenario) -> Iterator[tuple[str, str]]:
    """`web` runs, and this is where, and where not."""
    if lab.client.vm("web").state is not VmState.running:
        lab.demand("vm", "start", "web")
    lab.wait_ready("web")
    here = lab.client.vm("web").host
    assert here is not None
    yield here, {"host-a": "host-b", "host-b": "host-a"}[here]


@pytest.mark.parametrize("strike", STRIKES)
@pytest.mark.parametrize("step", STEPS)
def test_struck_while_disks_and_vm_go(lab: Scenario, step: str, strike: Strike) -> None:
    with running(lab) as (here, there), lab.traffic("web", kinds=("records",)) as traffic:
        moving = lab.begin("web", there, *SLOW)
        wait_until(step, lambda: STEPS[step](lab.client.migration(moving.id)))
        strike(lab, here, there, moving)
        lab.wait_answering()
        _, migration = moving.end()
        if strike is migration_link:
            lab.mend()
        (records,) = traffic.stop().clients

    assert_one_whole_vm(lab, migration, here, there)
    assert migration.phase is Phase.done or strike not in GO_ON, migration
    if strike is not migration_link:  # the guest's writes wait for the copy until it is given up
        assert (records.survived, records.verified, records.error) == (True, True, None)
    lab.demand("vm", "stop", "web", "--grace", "0s")
    assert_whole(lab, records.last_record)


def assert_one_whole_vm(lab: Scenario, migration: Migration, here: str, there: str) -> None:
    """It runs in one place, with its disks and nothing else there, and nothing of it is elsewhere."""
    assert migration.phase in {Phase.done, Phase.failed, Phase.cancelled}, migration
    home = there if migration.phase is Phase.done else here
    vm = lab.client.vm("web")
    assert (vm.state, vm.host, vm.migration) == (VmState.running, home, None), migration
    lab.wait_tidy()
    assert lab.where_it_runs("web") == (home,)
    assert files(lab) == [f"{home}/{name}" for name in ("data.qcow2", "journal.raw")], migration.error


@pytest.mark.parametrize("how", [("--datastore", "default"), ("--datastore", "default", "--cold")])
def test_only_disks_go_and_the_manager_is_killed(lab: Scenario, how: tuple[str, ...]) -> None:
    """The next one goes on with them from where they are, and a VM that was off stays off."""
    with running(lab) as (_, there):
        if "--cold" in how:
            lab.demand("vm", "stop", "web", "--grace", "0s")
            how = (there, *how)
    moving = lab.start("migrate", "web", *how, "--bandwidth", "80mbit", "--detach")
    id = moving.end().out.split()[0]
    wait_until("disks go", lambda: STEPS["disks"](lab.client.migration(id)))
    lab.kill_daemon("manager")
    lab.wait_answering()
    wait_until("it has ended", lambda: lab.client.migration(id).is_ended)

    assert (lab.client.migration(id).phase, files(lab)) == (
        Phase.done,
        ["datastore/data.qcow2", "datastore/journal.raw"],
    )
    assert lab.client.vm("web").state is (VmState.stopped if "--cold" in how else VmState.running)
    lab.wait_tidy()
    go(lab, "--datastore", "local", *(("--cold",) if "--cold" in how else ()))


@pytest.mark.parametrize("sides", ["source", "destination", "both"])
def test_a_cold_copy_goes_on_when_storage_daemons_die(lab: Scenario, sides: str) -> None:
    with running(lab) as (here, there):
        lab.demand("vm", "stop", "web", "--grace", "0s")
    before = [blocks(lab, name) for name in ("journal", "data")]
    moving = lab.start("migrate", "web", there, "--cold", *SLOW, "--detach")
    id = moving.end().out.split()[0]
    wait_until("disks go", lambda: STEPS["disks"](lab.client.migration(id)))
    for host in {"source": [here], "destination": [there], "both": [here, there]}[sides]:
        for pid in storage_daemons(lab, host):
            kill(pid)
    wait_until("it has ended", lambda: lab.client.migration(id).is_ended)

    assert lab.client.migration(id).phase is Phase.done, lab.client.migration(id).error
    assert files(lab) == [f"{there}/{name}" for name in ("data.qcow2", "journal.raw")]
    assert [blocks(lab, name) for name in ("journal", "data")] == before
    lab.wait_tidy()


def storage_daemons(lab: Scenario, host: str) -> list[int]:
    """Of QEMU, in that host's network."""
    network = os.readlink(f"/proc/{lab.look().node(host).pid}/ns/net")
    found = []
    for process in Path("/proc").iterdir():
        with suppress(OSError):
            is_one = process.name.isdigit() and b"qemu-storage-daemon" in (process / "cmdline").read_bytes().split(
                b"\0"
            )
            if is_one and os.readlink(process / "ns/net") == network:
                found.append(int(process.name))
    assert found, f"no storage daemon is on {host}"
    return found


def test_twenty_times_round(lab: Scenario) -> None:
    """From files of both formats to units of an iSCSI target and back, on either host, live and cold; what the guest
    sees is the same, block by block."""
    with running(lab):
        lab.demand("vm", "stop", "web", "--grace", "0s")
    before = [blocks(lab, name) for name in ("journal", "data")]
    for turn in range(ROUNDS):
        _go_round(lab, turn)
        assert [blocks(lab, name) for name in ("journal", "data")] == before, turn
        assert len(files(lab)) == 2
    lab.wait_tidy()


def _go_round(lab: Scenario, turn: int) -> None:
    """Every other one while the VM runs; every other two change its host on the way to the target, not back."""
    is_cold, format = turn % 2, ("raw", "qcow2")[turn // 2 % 2]
    if not is_cold:
        lab.demand("vm", "start", "web")
    how = ("--cold",) if is_cold else ()
    away = () if turn % 4 < 2 else (elsewhere(lab),)
    assert all(disk.to.startswith("iscsi://") for disk in go(lab, *away, "--datastore", "san", *how).disks)
    go(lab, elsewhere(lab), "--datastore", "local", "--format", format, *how)
    assert {str(disk.format) for disk in lab.client.vm("web").disks} == {format}
    if not is_cold:
        lab.demand("vm", "stop", "web", "--grace", "0s")


def elsewhere(lab: Scenario) -> str:
    """The host where `web` is not."""
    return {"host-a": "host-b", "host-b": "host-a"}[lab.client.vm("web").host or ""]

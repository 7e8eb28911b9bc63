"""A person settles what the hosts cannot: with a proof, never against the word of a host that answers."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
from tests.manager.site import Site, ended, make_site, until
from tests.manager.test_adopt import kill

from godwit.core.errors import Refused, Unreachable
from godwit.core.migration import SettleRequest
from godwit.core.model import VmState
from godwit.core.ownership import Cue, Ownership
from godwit.core.phase import Phase
from godwit.manager.manager import Manager
from godwit.testing.clock import run

PROOF = "its power is off"


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return make_site(tmp_path)


async def doubtful(site: Site, *gone: str) -> Manager:
    """The source gave the VM away, and those hosts never answer again."""
    await kill(site, Phase.handing_over, 5)
    source = site.world.source.vms["web-1"]
    source.take(Cue.completed)
    source.running = False
    for host in gone:
        site.doors[host].is_cut = True
    manager = site.start()
    await manager.start()
    await until(lambda: manager.runner.migrations()[0].phase is Phase.in_doubt)
    return manager


def settled(site: Site, *gone: str, then: Callable[[Manager], Awaitable[None]]) -> None:
    async def story() -> None:
        manager = await doubtful(site, *gone)
        await then(manager)
        await manager.close()

    run(story())


def test_in_doubt_says_what_both_hosts_say_and_what_to_do(site: Site) -> None:
    async def then(manager: Manager) -> None:
        (migration,) = manager.runner.migrations()
        assert migration.error == (
            "it is not known where web-1 runs: the journal of host-a says given, its QEMU is frozen; host-b does not "
            "answer; nothing is started until both hosts answer, or a person who knows that one never will says "
            "`godwit migration settle m1 --runs-on host-a|host-b|none --proof TEXT`"
        )
        site.doors["host-a"].is_cut = True
        await until(
            lambda: "host-a does not answer; host-b does not answer" in str(manager.runner.migration("m1").error)
        )

    settled(site, "host-b", then=then)


def test_a_dead_destination_gives_the_vm_back(site: Site) -> None:
    async def then(manager: Manager) -> None:
        await manager.runner.settle("m1", SettleRequest(runs_on="host-a", proof=PROOF))
        await ended(manager, "m1")
        migration, vm = manager.runner.migration("m1"), manager.inventory.view("web-1")
        assert (migration.phase, vm.state, vm.host) == (Phase.failed, VmState.running, "host-a")
        assert migration.settled_by_hand == "settled by hand: it runs on host-a, because its power is off"

    settled(site, "host-b", then=then)


def test_a_dead_source_leaves_the_vm_to_the_destination(site: Site) -> None:
    async def then(manager: Manager) -> None:
        await manager.runner.settle("m1", SettleRequest(runs_on="host-b", proof=PROOF))
        await ended(manager, "m1")
        migration, vm = manager.runner.migration("m1"), manager.inventory.view("web-1")
        assert (migration.phase, vm.state, vm.host) == (Phase.done, VmState.running, "host-b")
        assert site.world.runs_on == ["host-b"]

    settled(site, "host-a", then=then)


def test_who_answers_and_owns_it_is_believed(site: Site) -> None:
    async def then(manager: Manager) -> None:
        site.world.destination.vms["web-1"].state = Ownership.conting
        for runs_on in ("host-a", "none"):
            with pytest.raises(Refused, match="the journal of host-b says conting"):
                await manager.runner.settle("m1", SettleRequest(runs_on=runs_on, proof=PROOF))
        assert manager.runner.migration("m1").settled_by_hand is None

    settled(site, then=then)


def test_what_cannot_be_settled_is_refused(site: Site) -> None:
    async def then(manager: Manager) -> None:
        with pytest.raises(Unreachable, match="host-b does not answer, so nothing can be started there"):
            await manager.runner.settle("m1", SettleRequest(runs_on="host-b", proof=PROOF))
        with pytest.raises(Refused, match="is between host-a and host-b"):
            await manager.runner.settle("m1", SettleRequest(runs_on="host-c", proof=PROOF))
        await manager.runner.settle("m1", SettleRequest(runs_on="host-a", proof=PROOF))
        await ended(manager, "m1")
        with pytest.raises(Refused, match="m1 is failed: there is nothing to settle by hand"):
            await manager.runner.settle("m1", SettleRequest(runs_on="host-a", proof=PROOF))

    settled(site, "host-b", then=then)

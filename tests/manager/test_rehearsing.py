"""Rehearsals on fake hosts: a VM of its own is moved and removed, whatever happens, and the real one is not touched."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from godwit.contract.host import IncomingReady, PrepareIncoming
from godwit.core.checked import Rehearsal, RehearsalRequest
from godwit.core.errors import Failed, NotFound, Refused
from godwit.core.model import VmState
from godwit.core.rehearsed import judged
from godwit.core.resources import DiskRequest, VmChange
from godwit.manager.manager import Manager
from godwit.manager.past import past_of
from godwit.testing.clock import run

from .site import WEB, Site, make_site

THERE = RehearsalRequest(destination="host-b")
BACK = RehearsalRequest(destination="host-a", source="host-b")


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return make_site(tmp_path)


def assert_only_web(site: Site, manager: Manager) -> None:
    assert [vm.name for vm in manager.inventory.views()] == ["web-1"]
    assert (list(site.world.source.vms), list(site.world.destination.vms)) == (["web-1"], [])
    assert site.world.leftovers() == []
    assert all("rehearsal" not in path for path in site.world.source.files)


def codes(rehearsal: Rehearsal) -> list[str]:
    return [each.code for each in rehearsal.findings]


def test_a_network_that_hears_and_does_not_learn(site: Site) -> None:
    async def story() -> None:
        async with site.manager() as manager:
            await manager.inventory.create(WEB)
            rehearsal = await manager.rehearse("web-1", THERE)
            report = await manager.runner.report(rehearsal.migration or "")
            network = report.network.model_copy(update={"learned_at_ms": None})
            words = {"vm": "web-1", "probe": "rehearsal-1", "source": "host-a", "destination": "host-b"}
            deaf = judged(words, report.model_copy(update={"network": network}), None)
            assert (codes(deaf), deaf.passed) == (["rehearsal-unlearned"], False)

    run(story())


def test_a_vm_like_it_moves_and_is_gone(site: Site) -> None:
    async def story() -> None:
        async with site.manager() as manager:
            disk = DiskRequest(name="data", size_bytes=1 << 30)
            await manager.inventory.create(WEB.model_copy(update={"disks": (disk,)}))
            before = manager.inventory.view("web-1")
            for request in (THERE, BACK):
                rehearsal = await manager.rehearse("web-1", request)
                assert rehearsal.passed, rehearsal
                assert (rehearsal.blackout_ms, rehearsal.network is not None) == (10.0, True)
                assert_only_web(site, manager)
            assert manager.inventory.view("web-1") == before
            told = [(each.vm, each.source, each.destination) for each in manager.runner.migrations()]
            assert told == [("rehearsal-1", "host-a", "host-b"), ("rehearsal-2", "host-b", "host-a")]
            records = await site.store.migrations()
            assert [each.migration.rehearsal for each in records] == [True, True]
            assert past_of(records[0].migration, records) == (), "forecasts of others learn nothing from them"

    run(story())


def test_what_cannot_be_rehearsed_is_refused(site: Site) -> None:
    async def story() -> None:
        async with site.manager() as manager:
            await manager.inventory.create(WEB)
            for vm, request in (("web-9", THERE), ("web-1", RehearsalRequest(destination="host-z"))):
                with pytest.raises(NotFound):
                    await manager.rehearse(vm, request)
            with pytest.raises(Refused, match="host-b is both"):
                await manager.rehearse("web-1", RehearsalRequest(destination="host-b", source="host-b"))
            assert_only_web(site, manager)

    run(story())


def test_announcements_that_nobody_saw_are_found(site: Site) -> None:
    async def story() -> None:
        async with site.manager() as manager:
            await manager.inventory.create(WEB)
            site.world.source.witnesses = False
            rehearsal = await manager.rehearse("web-1", THERE)
            assert (rehearsal.passed, codes(rehearsal)) == (False, ["rehearsal-unwitnessed"])
            assert "did not see the announcements" in rehearsal.verdict
            assert_only_web(site, manager)

    run(story())


def test_what_keeps_the_vm_itself_is_told_too(site: Site) -> None:
    async def story() -> None:
        async with site.manager() as manager:
            await manager.inventory.create(WEB)
            await manager.inventory.change("web-1", VmChange(rules=("never-migrate",)))
            rehearsal = await manager.rehearse("web-1", THERE)
            assert (rehearsal.passed, codes(rehearsal)) == (False, ["never-migrate"])
            assert rehearsal.blackout_ms == 10.0

    run(story())


def test_a_move_that_fails_fails_the_rehearsal_and_leaves_nothing(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    async def broken(request: PrepareIncoming, /) -> IncomingReady:
        raise Failed("no tap could be made")

    async def story() -> None:
        async with site.manager() as manager:
            await manager.inventory.create(WEB)
            monkeypatch.setattr(site.world.destination, "prepare_incoming", broken)
            rehearsal = await manager.rehearse("web-1", THERE)
            assert (rehearsal.passed, codes(rehearsal)) == (False, ["rehearsal-failed"])
            assert "no tap could be made" in rehearsal.findings[0].evidence
            assert_only_web(site, manager)

    run(story())


def test_a_destination_without_room_fails_it_before_anything_moves(site: Site) -> None:
    async def story() -> None:
        async with site.manager() as manager:
            await manager.inventory.create(WEB)
            told = site.world.destination.told
            site.world.destination.told = told.model_copy(update={"memory_mib": 10})
            rehearsal = await manager.rehearse("web-1", THERE)
            assert codes(rehearsal) == ["rehearsal-failed", "memory"]
            assert_only_web(site, manager)

    run(story())


def test_an_interrupted_rehearsal_removes_what_it_made(site: Site) -> None:
    async def story() -> None:
        async with site.manager() as manager:
            await manager.inventory.create(WEB)
            entered = site.doors["host-b"].hold("prepare_incoming")
            rehearsing = asyncio.create_task(manager.rehearse("web-1", THERE))
            await entered.wait()
            rehearsing.cancel()
            await asyncio.gather(rehearsing, return_exceptions=True)
            assert_only_web(site, manager)

    run(story())


def test_what_a_killed_manager_left_is_removed_by_the_next(site: Site) -> None:
    async def story() -> None:
        async with site.manager() as manager:
            await manager.inventory.create(WEB)
            real: Any = manager.inventory.delete

            async def killed(name: str) -> None:
                raise Failed("the manager was killed here")

            manager.inventory.delete = killed  # type: ignore[method-assign]
            await manager.rehearse("web-1", THERE)
            manager.inventory.delete = real  # type: ignore[method-assign]
            left = [vm.name for vm in manager.inventory.views() if vm.state is VmState.stopped]
            assert left == ["rehearsal-1"]
        async with site.manager() as manager:
            await asyncio.sleep(1)
            assert_only_web(site, manager)

    run(story())

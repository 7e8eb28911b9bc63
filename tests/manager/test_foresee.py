"""What a migration will take, asked and told, over two hosts in memory."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.manager.site import MOVE, WEB, Site, ended, make_site

from godwit.contract.measures import Measure, Measurement
from godwit.core.errors import Refused
from godwit.core.migration import EventKind, MigrationRequest
from godwit.core.model import Datastore
from godwit.core.phase import Phase
from godwit.core.resources import DiskRequest
from godwit.flow.foreseeing import LINK_AGE_S
from godwit.testing.clock import run


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return make_site(tmp_path)


def test_a_dry_run_tells_and_touches_nothing(site: Site) -> None:
    async def story() -> None:
        async with site.manager() as manager:
            await manager.inventory.create(WEB)

            told = await manager.runner.foresee(MOVE)

            assert (told.vm, told.source, told.destination) == ("web-1", "host-a", "host-b")
            assert told.forecast.total_ms
            assert told.forecast.passes == 1
            assert manager.runner.migrations() == []
            assert site.world.leftovers() == []
            assert await site.store.next_number("migrations") == 1

    run(story())


def test_goals_that_cannot_be_met_are_refused_before_anything_is_touched(site: Site) -> None:
    async def story() -> None:
        async with site.manager() as manager:
            await manager.inventory.create(WEB)
            for goal in ({"max_blackout_ms": 3}, {"deadline_s": 1.0}):
                with pytest.raises(Refused, match="web-1 cannot be moved within --"):
                    await manager.runner.foresee(MOVE.model_copy(update=goal))
                id = (await manager.runner.start(MOVE.model_copy(update=goal))).id
                await ended(manager, id)
                migration = manager.runner.migration(id)
                assert (migration.phase, migration.error_kind) == (Phase.failed, "refused")
            assert site.world.leftovers() == []

    run(story())


def test_the_forecast_stands_beside_what_happened(site: Site) -> None:
    async def story() -> None:
        async with site.manager() as manager:
            await manager.inventory.create(WEB)
            id = (await manager.runner.start(MOVE)).id
            events = await ended(manager, id)
            report = await manager.runner.report(id)

            assert [each.kind for each in events].count(EventKind.foreseen) == 1
            assert report.forecast.total_ms
            assert report.forecast.blackout_ms
            assert report.blackout_ms

    run(story())


def test_a_move_goes_by_what_is_known_of_the_link_and_whoever_wants_to_know_by_what_is_so_now(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    source, ages = site.world.source, []
    measure = source.measure

    async def asked(request: Measure, /) -> Measurement:
        ages.append(request.link_age_s)
        return (await measure(request)).model_copy(update={"link_age_s": min(90.0, request.link_age_s)})

    monkeypatch.setattr(source, "measure", asked)

    async def story() -> None:
        async with site.manager() as manager:
            await manager.inventory.create(WEB)
            told = await manager.runner.foresee(MOVE)
            await manager.checker.check(WEB.name, "host-b")
            id = (await manager.runner.start(MOVE.model_copy(update={"deadline_s": 60.0, "max_blackout_ms": 3}))).id
            await ended(manager, id)
            id = (await manager.runner.start(MOVE)).id
            report = (await ended(manager, id), await manager.runner.report(id))[1]

            assert ages == [0.0, 0.0, 0.0, LINK_AGE_S]
            assert "measured" not in told.forecast.sentence
            assert report.forecast.sentence.endswith("; the link was measured 90.0 s before")

    run(story())


def test_disks_are_foretold_too_whether_the_vm_goes_with_them_or_not(site: Site) -> None:
    async def story() -> None:
        async with site.manager() as manager:
            disk = DiskRequest(name="data", size_bytes=200 * 10**6)
            await manager.inventory.create(WEB.model_copy(update={"disks": (disk,)}))
            await manager.inventory.datastores.add(Datastore(name="fast", path="/fast"))

            alone = await manager.runner.foresee(MigrationRequest(vm="web-1", datastore="fast"))
            together = await manager.runner.foresee(MOVE.model_copy(update={"datastore": "fast"}))

            assert (alone.forecast.disk_bytes, alone.forecast.disks_ms) == (200 * 10**6, 1000.0)
            assert alone.forecast.blackout_ms is None
            assert (together.forecast.disk_bytes or 0, bool(together.forecast.blackout_ms)) == (200 * 10**6, True)
            assert (together.forecast.total_ms or 0) > (together.forecast.disks_ms or 0) > 2000

            id = (await manager.runner.start(MigrationRequest(vm="web-1", datastore="fast"))).id
            await ended(manager, id)
            report = await manager.runner.report(id)
            assert (report.forecast.disk_bytes, report.outcome) == (200 * 10**6, "done")

    run(story())

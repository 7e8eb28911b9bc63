"""May it move? What the manager adds to the rules: its records, and a close look at both hosts."""

from __future__ import annotations

from pathlib import Path

import pytest

from godwit.contract.looks import ExchangeFrames, SegmentsLook
from godwit.contract.measures import Measurement
from godwit.core.errors import Invalid, NotFound, Refused
from godwit.core.finding import Severity
from godwit.core.migration import MigrationRequest
from godwit.core.phase import Phase
from godwit.core.resources import DiskRequest, VmChange, VmRequest
from godwit.manager.manager import Manager
from godwit.testing.clock import run

from .site import MOVE, WEB, Site, ended, make_site


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return make_site(tmp_path)


def another(name: str, **words: object) -> VmRequest:
    return WEB.model_copy(update={"name": name, **words})


async def codes(manager: Manager, vm: str = "web-1", host: str = "host-b") -> list[str]:
    return [each.code for each in (await manager.checker.check(vm, host)).findings]


def test_a_vm_that_nothing_keeps_can_be_moved(site: Site) -> None:
    async def story() -> None:
        async with site.manager() as manager:
            await manager.inventory.create(WEB)
            checked = await manager.checker.check("web-1", "host-b")
            assert (checked.movable, checked.findings) == (True, ())
            assert checked.verdict == "web-1 can be moved from host-a to host-b: nothing stands in the way"
            assert manager.runner.migrations() == []
            with pytest.raises(Refused, match="runs on host-a already"):
                await manager.checker.check("web-1", "host-a")
            for vm, host in (("web-1", "host-z"), ("web-9", "host-b")):
                with pytest.raises(NotFound):
                    await manager.checker.check(vm, host)

    run(story())


def test_a_host_that_does_not_answer_is_a_blocker(site: Site) -> None:
    async def story() -> None:
        async with site.manager() as manager:
            await manager.inventory.create(WEB)
            site.doors["host-b"].is_cut = True
            checked = await manager.checker.check("web-1", "host-b")
            assert [each.code for each in checked.findings] == ["host-unreachable"]
            assert not checked.movable
            assert (await manager.checker.destinations("web-1"))[0].why_not == "host-b does not answer"

    run(story())


def test_the_owner_of_a_vm_keeps_it(site: Site) -> None:
    async def story() -> None:
        async with site.manager() as manager:
            await manager.inventory.create(another("web-1", rules=("never-migrate", "keep-apart=web")))
            await manager.inventory.create(another("web-2", host="host-b", rules=("keep-apart=web", "keep-apart=db")))
            assert await codes(manager) == ["never-migrate", "keep-apart"]
            for force in (False, True):
                with pytest.raises(Refused, match="the owner of web-1 does not let it move"):
                    await manager.runner.start(MOVE.model_copy(update={"force": force}))
            view = await manager.inventory.change("web-1", VmChange(rules=("keep-apart=web",)))
            assert view.rules == ("keep-apart=web",)
            with pytest.raises(Refused, match="kept apart from web-2 on host-b") as refused:
                await manager.runner.start(MOVE)
            assert refused.value.code == "keep-apart"
            assert await codes(manager, "web-2", "host-a") == ["keep-apart"]
            with pytest.raises(Refused, match="kept apart from web-1 on host-a"):
                await manager.runner.start(MigrationRequest(vm="web-2"))
            await manager.inventory.change("web-1", VmChange(rules=("max-stall=299ms",)))
            assert await codes(manager) == []
            moved = manager.runner.migration(await to_its_end(manager, MOVE))
            assert (moved.phase, moved.request.max_blackout_ms) == (Phase.done, 299)
            back = MOVE.model_copy(update={"destination": "host-a", "force": True})
            id = await to_its_end(manager, back)
            assert manager.runner.migration(id).request.max_blackout_ms == 300
            assert [each.code for each in (await manager.runner.report(id)).findings] == ["max-stall"]
            with pytest.raises(Invalid, match="'no-more' is no rule"):
                await manager.inventory.change("web-1", VmChange(rules=("no-more",)))
            with pytest.raises(Invalid):
                await manager.inventory.create(another("web-3", rules=("never",)))

    run(story())


def test_what_other_moves_leave_of_a_link_is_no_slow_link(site: Site) -> None:
    async def story() -> None:
        async with site.manager() as manager:
            site.world.source.measured = Measurement(link_bytes_per_s=2_500_000)
            for name in ("web-1", "web-2"):
                await manager.inventory.create(another(name, host="host-a", memory_mib=256))
            assert await codes(manager, "web-2") == ["link-slow"]
            entered = site.doors["host-a"].hold("copy")
            moving = await manager.runner.start(MOVE)
            await entered.wait()
            assert await codes(manager, "web-2") == []
            assert [each.code for each in (await manager.check_host("host-b")).findings] == []
            site.doors["host-a"].held["copy"].set()
            await ended(manager, moving.id)
            assert await codes(manager, "web-2") == ["link-slow"]

    run(story())


async def to_its_end(manager: Manager, request: MigrationRequest) -> str:
    migration = await manager.runner.start(request)
    async for event in manager.feed.follow(migration.id):
        if event.phase in {Phase.done, Phase.failed}:
            break
    return migration.id


def test_force_takes_a_risk_and_the_report_says_so(site: Site) -> None:
    async def story() -> None:
        async with site.manager() as manager:
            await manager.inventory.create(another("web-1", rules=("keep-apart=web",)))
            await manager.inventory.create(another("web-2", host="host-b", rules=("keep-apart=web",)))
            id = await to_its_end(manager, MOVE.model_copy(update={"force": True}))
            report = await manager.runner.report(id)
            assert report.outcome == "done"
            assert [(each.code, each.severity) for each in report.findings] == [("keep-apart", Severity.blocker)]

    run(story())


def test_moving_often_is_warned_of(site: Site) -> None:
    async def story() -> None:
        async with site.manager() as manager:
            await manager.inventory.create(WEB)
            for host in ("host-b", "host-a", "host-b"):
                id = await to_its_end(manager, MOVE.model_copy(update={"destination": host}))
                assert (await manager.runner.report(id)).findings == ()
            assert await codes(manager, host="host-a") == ["moved-often"]
            id = await to_its_end(manager, MOVE.model_copy(update={"destination": "host-a"}))
            assert [each.code for each in (await manager.runner.report(id)).findings] == ["moved-often"]

    run(story())


def test_a_clustered_disk_keeps_its_vm(site: Site) -> None:
    async def story() -> None:
        async with site.manager() as manager:
            disk = DiskRequest(name="quorum", size_bytes=1 << 20, clustered=True)
            await manager.inventory.create(another("web-1", disks=(disk,)))
            assert await codes(manager) == ["clustered-disk"]

    run(story())


def test_networks_that_are_not_one_are_found_in_the_checking_phase(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    real = {host.name: host.exchange_frames for host in (site.world.source, site.world.destination)}

    def cut(name: str) -> None:
        async def exchange(request: ExchangeFrames, /) -> SegmentsLook:
            look = await real[name](request)
            return SegmentsLook(segments=tuple(each.model_copy(update={"heard": ()}) for each in look.segments))

        host = site.world.source if name == "host-a" else site.world.destination
        monkeypatch.setattr(host, "exchange_frames", exchange)

    async def story() -> None:
        async with site.manager() as manager:
            await manager.inventory.create(WEB)
            cut("host-a")
            assert await codes(manager) == ["network-one-way"]
            cut("host-b")
            assert await codes(manager) == ["network-unreachable"]
            id = await to_its_end(manager, MOVE)
            failed = manager.runner.migration(id)
            assert (failed.phase, failed.error_kind) == (Phase.failed, "refused")
            assert "is not the same layer 2 segment" in (failed.error or "")
            assert site.world.runs_on == ["host-a"]
            id = await to_its_end(manager, MOVE.model_copy(update={"force": True}))
            assert [each.code for each in (await manager.runner.report(id)).findings] == ["network-unreachable"]
            assert site.world.runs_on == ["host-b"]

    run(story())


def test_what_could_come_and_where_it_could_go(site: Site) -> None:
    async def story() -> None:
        async with site.manager() as manager:
            await manager.inventory.create(WEB)
            await manager.inventory.create(another("large", memory_mib=1700, host="host-a"))
            await manager.inventory.create(another("mid", memory_mib=600, host="host-b"))
            (there,) = await manager.checker.destinations("web-1")
            assert (there.host, there.movable, there.why_not) == ("host-b", True, None)
            arrivals = {each.vm: each for each in await manager.checker.arrivals("host-b")}
            assert {vm: each.movable for vm, each in arrivals.items()} == {"web-1": True, "large": False}
            assert "large needs 1700 MiB" in (arrivals["large"].why_not or "")

    run(story())

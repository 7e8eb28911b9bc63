"""What is wrong between hosts is found without any VM."""

from __future__ import annotations

from pathlib import Path

import pytest

from godwit.contract.looks import ExchangeFrames, SegmentsLook
from godwit.contract.measures import Measurement
from godwit.core.errors import NotFound
from godwit.manager.manager import Manager
from godwit.testing.clock import run

from .site import Site, make_site


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return make_site(tmp_path)


async def codes(manager: Manager, host: str) -> list[str]:
    return [each.code for each in (await manager.check_host(host)).findings]


def test_hosts_that_are_well(site: Site) -> None:
    async def story() -> None:
        async with site.manager() as manager:
            checked = await manager.check_host("host-b")
            assert (checked.others, checked.findings) == (("host-a",), ())
            with pytest.raises(NotFound):
                await manager.check_host("host-z")

    run(story())


def test_a_host_that_does_not_answer(site: Site) -> None:
    async def story() -> None:
        async with site.manager() as manager:
            site.doors["host-b"].is_cut = True
            assert await codes(manager, "host-b") == ["host-unreachable"]
            assert (await manager.check_host("host-a")).others == ()

    run(story())


def test_networks_links_and_clocks(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    there = site.world.destination
    real = there.exchange_frames

    async def reflected(request: ExchangeFrames, /) -> SegmentsLook:
        look = await real(request)
        return SegmentsLook(segments=tuple(each.model_copy(update={"returned": ("bond0",)}) for each in look.segments))

    async def story() -> None:
        async with site.manager() as manager:
            monkeypatch.setattr(there, "exchange_frames", reflected)
            site.world.source.measured = Measurement(link_bytes_per_s=2_500_000)
            there.told = there.told.model_copy(update={"load": 9.0, "networks": (*there.told.networks, "dmz")})
            assert await codes(manager, "host-b") == ["network-reflected", "host-overloaded", "link-slow"]
            assert await codes(manager, "host-a") == []

    run(story())

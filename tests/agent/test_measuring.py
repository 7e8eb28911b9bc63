"""What is known of a link need not be measured again, as long as it is new enough and was good."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any, cast

import pytest

from godwit.agent import measuring
from godwit.agent.measuring import Gauges, Links, measure
from godwit.agent.usage import Usage
from godwit.agent.vms import Vms
from godwit.contract.host import Peer
from godwit.contract.measures import Measure, Measurement, Sink
from godwit.network.link_probe import UNKNOWN, Probed

GOOD = Probed(10**8, 0.2)
THERE = "192.0.2.2"


class Link:
    """Each probe of it finds the next of these."""

    def __init__(self, *found: Probed) -> None:
        self.found = list(found)
        self.links = Links()

    def probe(self, address: str, port: int, token: str) -> Probed:
        return self.found.pop(0)

    async def open_sink(self, _: object) -> Sink:
        return Sink(port=1, token="")

    def measured(self, link_age_s: float = 60.0, *, address: str = THERE, shared: bool = False) -> Measurement:
        words: Any = {"vm": "web-1", "memory_bytes": 0, "destination": "host-b", "peer_address": "192.0.2.2:1"}
        request = Measure(**words, destination_address=address, link_age_s=link_age_s, link_is_shared=shared)
        vms = cast(Vms, SimpleNamespace(config=SimpleNamespace(host="host-a")))
        return asyncio.run(measure(vms, request, lambda host, at: cast(Peer, self), Gauges(self.links, Usage(vms))))


@pytest.fixture
def link(monkeypatch: pytest.MonkeyPatch) -> Link:
    link = Link(GOOD, GOOD._replace(bytes_per_s=1))
    monkeypatch.setattr(measuring, "probe", link.probe)
    return link


def test_what_was_measured_lately_will_do(link: Link) -> None:
    first, second = link.measured(), link.measured()

    assert (first.link_bytes_per_s, second.link_bytes_per_s, second.rtt_ms) == (10**8, 10**8, 0.2)
    assert first.link_age_s == 0.0 < second.link_age_s < 60.0


def test_it_is_measured_anew_for_whom_that_is_too_old(link: Link) -> None:
    assert [link.measured(link_age_s=0.0).link_bytes_per_s for _ in range(2)] == [10**8, 1]
    assert link.measured().link_bytes_per_s == 1


def test_another_link_is_another(link: Link) -> None:
    assert [link.measured(address=each).link_bytes_per_s for each in (THERE, "192.0.2.3")] == [10**8, 1]


def test_what_others_leave_of_it_is_not_kept(link: Link) -> None:
    assert [link.measured(shared=True).link_bytes_per_s, link.measured().link_bytes_per_s] == [10**8, 1]


@pytest.mark.parametrize("bad", [UNKNOWN, GOOD._replace(resent=0.02)])
def test_one_that_was_not_good_is_looked_at_again(link: Link, bad: Probed) -> None:
    link.found[:] = [bad, GOOD]

    assert [link.measured().link_bytes_per_s for _ in range(2)] == [bad.bytes_per_s, 10**8]

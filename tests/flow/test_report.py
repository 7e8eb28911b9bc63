"""What a report says of the network."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from godwit.contract.host import HandedOver, Relayed, Settled, Sighted
from godwit.core.migration import Migration, MigrationRequest
from godwit.core.phase import Phase
from godwit.core.report import Announcement, NetworkReport, RelayEnd
from godwit.flow.report import compose

STOP_MS, BLACKOUT_MS = 1_000_000.0, 40.0
EARLY = (Announcement(kind="rarp", at_ms=0.0), Announcement(kind="announce-self", at_ms=1.0))
LATER = (*EARLY, Announcement(kind="rarp", at_ms=5000.0))


def network(announcements: tuple[Announcement, ...] = EARLY, **relayed: Any) -> NetworkReport:
    migration = Migration(
        id="m1",
        vm="web",
        source="host-a",
        destination="host-b",
        request=MigrationRequest(vm="web"),
        phase=Phase.done,
        started_at=datetime.fromtimestamp(990, UTC),
    )
    handed = HandedOver(
        stopped_at_ms=STOP_MS,
        resumed_at_ms=STOP_MS + BLACKOUT_MS,
        blackout_ms=BLACKOUT_MS,
        clock_error_ms=0.1,
        transferred_bytes=1,
    )
    settled = Settled(announcements=announcements, left_by=("lan0",), relayed=Relayed(**relayed))
    return compose(migration, [], handed, settled).network


def seen(kind: str, at_ms: float) -> Sighted:
    return Sighted(kind=kind, by="host-a", at_unix_ms=STOP_MS + at_ms)


def test_times_are_those_since_the_stop() -> None:
    told = network(frames_drained=2, sighted=(seen("rarp", 41), seen("arp", 60)), learned_at_unix_ms=STOP_MS + 1000)
    assert (told.frames_drained, told.witnessed_at_ms, told.learned_at_ms) == (2, 41, 1000)
    assert [(each.kind, each.at_ms, each.witnessed_by) for each in told.announcements] == [
        ("rarp", 40, ("host-a",)),
        ("announce-self", 41, ("host-a",)),
    ]


@pytest.mark.parametrize(
    ("relayed", "words"),
    [
        ({}, ("they left host-b by lan0, and host-a never saw them", "host-a relays its frames meanwhile")),
        ({"sighted": (seen("rarp", 41),)}, ("host-a saw them, but the switch before it still sends",)),
        ({"ended": RelayEnd.unwitnessed}, ("host-a never saw them", "host-a relays no more, so connections may break")),
    ],
)
def test_a_network_that_does_not_learn_is_warned_of(relayed: dict[str, Any], words: tuple[str, ...]) -> None:
    warning = str(network(LATER, **relayed).warning)
    assert [each for each in words if each not in warning] == []


@pytest.mark.parametrize(
    ("announcements", "relayed"),
    [
        (EARLY, {}),
        (LATER, {"learned_at_unix_ms": STOP_MS + 1000}),
        (LATER, {"ended": RelayEnd.moved_on}),
    ],
)
def test_no_warning_where_all_is_well_or_may_become_so(
    announcements: tuple[Announcement, ...], relayed: dict[str, Any]
) -> None:
    assert network(announcements, **relayed).warning is None

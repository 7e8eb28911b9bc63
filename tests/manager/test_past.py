"""What earlier moves tell a forecast."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from godwit.contract.host import HandedOver
from godwit.contract.store import MigrationRecord
from godwit.core.dirtying import Dirtied
from godwit.core.forecast import Past
from godwit.core.migration import Kind, Migration, MigrationRequest
from godwit.core.phase import Phase
from godwit.core.report import DiskReport, PassReport
from godwit.manager.past import past_of

MB = 10**6
BEGUN = datetime(2026, 1, 1, tzinfo=UTC)


def migration(id: str = "m2", *, waited_ms: float = 0.0, **request: object) -> Migration:
    return Migration(
        id=id,
        vm="web",
        source="host-a",
        destination="host-b",
        phase=Phase.done,
        request=MigrationRequest.model_validate({"vm": "web", **request}),
        started_at=BEGUN,
        ended_at=BEGUN + timedelta(seconds=9),
        waited_ms=waited_ms,
    )


def ended(number: int, at_ms: float, remaining_mb: int, *, throttle_percent: int = 0) -> PassReport:
    return PassReport(
        number=number,
        remaining_bytes=remaining_mb * MB,
        dirty_rate=0,
        bandwidth=0,
        throttle_percent=throttle_percent,
        at_ms=at_ms,
    )


def told(*passes: PassReport, blackout_ms: float = 10.0, waited_ms: float = 0.0, **request: object) -> Past:
    handed = HandedOver(
        stopped_at_ms=0.0,
        resumed_at_ms=blackout_ms,
        blackout_ms=blackout_ms,
        clock_error_ms=0.1,
        rest_ms=2.0,
        copying_ms=4000.0,
        transferred_bytes=160 * MB,
        passes=passes,
    )
    record = MigrationRecord(migration=migration("m1", waited_ms=waited_ms, **request), handed=handed)
    (past,) = past_of(migration(plaintext=True), [record])
    return past


def test_its_fixed_part_and_what_was_done_besides_copying() -> None:
    past = told(plaintext=True)

    assert (past.fixed_ms, past.around_ms) == (8.0, 9000 - 4000 - 10)
    assert (past.same_vm, past.alike) == (True, True)


def test_a_hand_over_that_waited_for_a_dead_agent_tells_nothing_of_devices() -> None:
    assert told(blackout_ms=600_000.0).fixed_ms == 0.0


def test_what_it_waited_for_its_turn_is_not_what_every_move_takes() -> None:
    assert told(plaintext=True, waited_ms=3000).around_ms == 9000 - 3000 - 4000 - 10


def test_a_close_look_for_a_deadline_is_not_what_every_move_takes() -> None:
    assert told(plaintext=True, deadline_s=60).around_ms == 9000 - 3000 - 4000 - 10


def test_a_rate_is_told_by_moves_alike_that_no_cap_held_back() -> None:
    assert told(plaintext=True).stream_bytes_per_s == 40 * MB
    assert told(plaintext=True, bandwidth_bytes_per_s=60 * MB).stream_bytes_per_s == 40 * MB
    assert told(plaintext=True, bandwidth_bytes_per_s=41 * MB).stream_bytes_per_s == 0
    assert told().stream_bytes_per_s == 0
    assert not told().alike


def test_whole_passes_tell_how_the_guest_writes() -> None:
    past = told(
        ended(1, 2000.0, 30),
        ended(2, 2500.0, 9),
        ended(4, 2700.0, 3),  # the third was not seen
        ended(5, 2900.0, 2, throttle_percent=40),
    )

    assert past.dirtied == (Dirtied(seconds=2.0, bytes=30 * MB), Dirtied(seconds=0.5, bytes=9 * MB))


def test_a_live_move_of_whose_copying_nothing_is_known_is_not_one_of_disks_only() -> None:
    disk = DiskReport(disk="data", source="/a", to="/b", copied_bytes=500 * MB, skipped_bytes=0, ms=4000.0)
    unknown = HandedOver(
        stopped_at_ms=0.0, resumed_at_ms=10.0, blackout_ms=10.0, clock_error_ms=0.1, copying_ms=0.0, transferred_bytes=0
    )
    record = MigrationRecord(migration=migration("m1"), handed=unknown, disks=(disk,))
    assert past_of(migration(), [record]) == ()

    storage = record.migration.model_copy(update={"kind": Kind.storage})
    (past,) = past_of(storage, [record.model_copy(update={"migration": storage, "handed": None})])
    assert past.around_ms == 9000 - 4000

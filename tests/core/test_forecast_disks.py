"""What disks are expected to take: from what was measured, what went before, and what is asked for."""

from __future__ import annotations

import pytest

from godwit.core.errors import Refused
from godwit.core.forecast import LINK_SHARE, NOTHING, Measured, Past
from godwit.core.forecast_disks import DISK_BYTES_PER_S, LEAST_BYTES, copying, rate, without_memory
from godwit.core.migration import MigrationRequest
from godwit.core.model import Disk, DiskMove
from godwit.core.report import DiskReport, Forecast

MB = 10**6
DISK = Disk(name="data", datastore="a", path="/a", size_bytes=500 * MB)
MOVE = DiskMove(disk=DISK, to=DISK)
REQUEST = MigrationRequest(vm="web-1", datastore="b")


def a_past(bytes_per_s: float, around_ms: float = 300.0) -> Past:
    return Past(True, True, around_ms, 0.0, 0.0, 0, disk_bytes_per_s=bytes_per_s)


def test_what_a_disk_holds_is_copied_as_fast_as_the_link_carries() -> None:
    measured = Measured(link_bytes_per_s=100 * MB, disk_bytes={"data": 94 * MB})
    found = copying(measured, (), (MOVE,), stays=False, cap_bytes_per_s=None)
    assert (found.bytes, found.bytes_per_s, round(found.ms)) == (94 * MB, 100 * MB * LINK_SHARE, 1000)


def test_one_that_was_not_measured_is_copied_whole_and_on_one_host_without_a_link() -> None:
    found = copying(NOTHING, (), (MOVE, MOVE), stays=True, cap_bytes_per_s=None)
    assert (found.bytes, found.bytes_per_s) == (1000 * MB, DISK_BYTES_PER_S)


def test_earlier_moves_tell_the_rate_and_a_limit_lowers_it() -> None:
    past = (a_past(0.0), a_past(50 * MB), a_past(50 * MB))
    assert copying(NOTHING, past, (MOVE,), stays=True, cap_bytes_per_s=None).bytes_per_s == pytest.approx(50 * MB)
    assert copying(NOTHING, past, (MOVE,), stays=True, cap_bytes_per_s=20 * MB).bytes_per_s == 20 * MB


def test_the_rate_of_a_move_is_of_all_its_disks_and_of_what_they_hold() -> None:
    def went(copied_bytes: int, ms: float) -> DiskReport:
        return DiskReport(disk="d", source="a", to="b", copied_bytes=copied_bytes, skipped_bytes=0, ms=ms)

    assert rate([went(LEAST_BYTES, 500.0), went(LEAST_BYTES, 1000.0)]) == 2 * LEAST_BYTES
    assert rate([went(LEAST_BYTES - 1, 1000.0)]) == rate([]) == 0.0


def test_a_move_without_memory_takes_its_disks_and_what_is_around_them() -> None:
    disks = copying(NOTHING, (), (MOVE,), stays=True, cap_bytes_per_s=50 * MB)
    told = without_memory(disks, (a_past(0.0, around_ms=250.0),), REQUEST)
    assert (told.total_ms, told.disks_ms, told.disk_bytes, told.blackout_ms) == (10250.0, 10000.0, 500 * MB, None)
    assert told.sentence == "10.2 s in all, 10.0 s of them for 476.8 MiB of disks"
    with pytest.raises(Refused, match=r"--deadline 10 s: it needs 10\.7 s, 476\.8 MiB of disks at 47\.7 MiB/s"):
        without_memory(disks, (), REQUEST.model_copy(update={"deadline_s": 10.0}))


def test_a_move_without_disks_says_nothing_of_them() -> None:
    disks = copying(NOTHING, (), (), stays=False, cap_bytes_per_s=None)
    assert disks.added_to(Forecast(total_ms=1.0)) == Forecast(total_ms=1.0)

"""The detectors of a split brain would see one."""

from __future__ import annotations

from pathlib import Path

from tests.torture.beacon import sequence
from tests.torture.cases import VICTIMS, drawn, matrix
from tests.torture.guest import SECTOR, lost_records, record
from tests.torture.watch import WRAP, Beat, doubled, most_at_once, running


def beats(*told: tuple[str, int]) -> list[Beat]:
    return [Beat(float(number), port, count) for number, (port, count) in enumerate(told)]


def event(name: str, at_s: int) -> dict[str, object]:
    return {"event": name, "timestamp": {"seconds": at_s, "microseconds": 0}}


def test_a_counter_that_goes_on_is_one_copy() -> None:
    assert doubled(beats(("host-a", 1), ("host-a", 2), ("host-b", 5), ("host-b", 6))) == []
    assert doubled(beats(("host-a", WRAP - 1), ("host-a", 0), ("host-b", 1))) == []


def test_a_counter_that_comes_twice_is_two_copies_or_a_stale_one() -> None:
    assert doubled(beats(("host-a", 1), ("host-b", 1)))
    assert doubled(beats(("host-a", 7), ("host-b", 8), ("host-a", 8)))
    assert doubled(beats(("host-a", 9), ("host-a", 3)))


def test_intervals_that_overlap_are_two_copies() -> None:
    source = [event("RESUME", 1), event("STOP", 5)]
    after = [event("RESUME", 6), event("__org.godwit_EXITED", 9)]
    early = [event("RESUME", 4)]

    def most(destination: list[dict[str, object]]) -> int:
        logs = {"host-a": source, "host-b": destination}
        return most_at_once([(host, *each) for host, log in logs.items() for each in running(log, now=10.0)])

    assert most(after) == 1
    assert most(early) == 2


def test_what_a_gap_hides_is_not_claimed() -> None:
    assert running([event("RESUME", 1), event("__org.godwit_GAP", 2), event("STOP", 3)], now=9.0) == []


def test_a_record_that_is_not_there_is_missed(tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    disk.write_bytes(bytes(SECTOR) + b"".join(record(number).ljust(SECTOR, b"\0") for number in (1, 2, 4)))

    assert lost_records(disk, 1, 2) == 0
    assert lost_records(disk, 1, 3) == 1
    assert lost_records(disk, 1, 9) == 7


def test_a_ping_of_the_vm_has_a_number() -> None:
    mac = bytes.fromhex("525400000001")
    header = b"\x45" + bytes(8) + b"\x01" + bytes(10)
    frame = bytes(6) + mac + b"\x08\x00" + header + b"\x08\0\0\0\0\1\x01\x02"

    assert sequence(frame, mac) == 0x102
    assert sequence(frame, bytes(6)) is None
    assert sequence(frame[:30], mac) is None


def test_the_same_seed_draws_the_same_cases() -> None:
    cases = matrix([("source", "qmp migrate before"), ("manager", "phase done after")])

    assert len(cases) == 2 * len(VICTIMS)
    assert drawn(cases, 5, 7) == drawn(cases, 5, 7)
    assert drawn(cases, 99, 7) != cases
    assert set(drawn(cases, 99, 7)) == set(cases)

"""The journal: what was written whole is read again, what was torn never happened, damage is loud."""

from __future__ import annotations

import os
from contextlib import closing
from pathlib import Path
from unittest.mock import patch
from zlib import crc32

import pytest
from hypothesis import given
from hypothesis import strategies as st

from godwit.core.errors import Broken, Failed
from godwit.core.ownership import Ownership, Record
from godwit.host.journal_file import JournalFile

FIRST = Record(state=Ownership.own, boot_id="boot-1", qemu_pid=7, qemu_start_ticks=99)
SECOND = Record(state=Ownership.offer, migration="m1", epoch=3, count=1, peer="host-b", boot_id="boot-1")
THIRD = Record(state=Ownership.given, migration="m1", epoch=3, count=1, peer="host-b", boot_id="boot-1")

RECORDS = st.builds(
    Record,
    state=st.sampled_from(Ownership),
    migration=st.text(),
    epoch=st.integers(min_value=0),
    count=st.integers(min_value=0),
    peer=st.text(),
    boot_id=st.text(),
    qemu_pid=st.integers(),
    qemu_start_ticks=st.integers(),
)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "vm.journal"
    write(path, FIRST, SECOND)
    return path


def write(path: Path, *records: Record) -> None:
    with closing(JournalFile(path)) as journal:
        for record in records:
            journal.append(record, durable=False)


def test_a_journal_that_was_never_written_is_empty_and_makes_no_file(tmp_path: Path) -> None:
    journal = JournalFile(tmp_path / "none")

    assert journal.last() is None
    assert list(tmp_path.iterdir()) == []


@given(records=st.lists(RECORDS, max_size=8))
def test_what_was_appended_is_read_again(records: list[Record], tmp_path_factory: pytest.TempPathFactory) -> None:
    path = tmp_path_factory.mktemp("journal") / "vm"
    write(path, *records)

    assert JournalFile(path).records() == tuple(records)
    assert JournalFile(path).last() == (records[-1] if records else None)


def test_the_writer_sees_its_own_records(path: Path) -> None:
    with closing(JournalFile(path)) as journal:
        journal.append(THIRD, durable=False)

        assert journal.last() == THIRD


def test_a_record_torn_at_any_byte_never_happened_and_is_cut_off_by_the_next(path: Path) -> None:
    whole = path.read_bytes()
    begin = whole.index(b"\n") + 1

    for length in range(begin, len(whole)):
        path.write_bytes(whole[:length])
        assert JournalFile(path).records() == (FIRST,), length
        write(path, THIRD)
        assert JournalFile(path).records() == (FIRST, THIRD), length


def test_a_damaged_byte_anywhere_in_the_last_record_undoes_it(path: Path) -> None:
    whole = path.read_bytes()

    for place in range(whole.index(b"\n") + 1, len(whole)):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :])
        assert JournalFile(path).records() == (FIRST,), place


def test_zeros_after_a_power_cut_never_happened(path: Path) -> None:
    path.write_bytes(path.read_bytes() + b"\0" * 300)

    assert JournalFile(path).last() == SECOND


def test_damage_before_a_good_record_is_loud(path: Path) -> None:
    whole = bytearray(path.read_bytes())
    whole[20] ^= 1
    path.write_bytes(whole)

    with pytest.raises(Broken, match="damaged before its end"):
        JournalFile(path)


def test_a_whole_record_of_a_newer_version_is_never_dropped(path: Path) -> None:
    line = path.read_bytes().splitlines()[0]
    body = line[9:].replace(b'"own"', b'"new"')
    path.write_bytes(b"%08x %s\n" % (crc32(body), body))

    with pytest.raises(Broken, match="newer"):
        JournalFile(path)


def test_durable_means_synced_and_so_is_the_directory_of_a_new_file(tmp_path: Path) -> None:
    with (
        patch.object(os, "fdatasync", wraps=os.fdatasync) as data,
        patch.object(os, "fsync", wraps=os.fsync) as directory,
        closing(JournalFile(tmp_path / "vm")) as journal,
    ):
        journal.append(FIRST, durable=True)
        journal.append(SECOND, durable=False)
        journal.append(THIRD, durable=True)

        assert (data.call_count, directory.call_count) == (2, 1)


def test_the_records_of_a_hand_over_make_the_file_no_longer(path: Path) -> None:
    with closing(JournalFile(path)) as journal:
        journal.append(FIRST, durable=False)
        size = path.stat().st_size

        for _ in range(8):
            journal.append(THIRD, durable=True)
            assert path.stat().st_size == size


def test_there_is_room_behind_every_record_and_nothing_behind_the_last_when_it_is_closed(path: Path) -> None:
    with closing(JournalFile(path)) as journal:
        for _ in range(300):
            journal.append(THIRD, durable=False)
            whole = path.read_bytes()
            assert len(whole) - len(whole.rstrip(b" ")) >= 4096

    assert path.read_bytes().endswith(b"}\n")


def test_whoever_died_with_the_file_open_left_all_records(path: Path) -> None:
    journal = JournalFile(path)
    journal.append(THIRD, durable=True)
    left = path.read_bytes()
    journal.close()

    for length in range(left.rindex(b"\n") + 1, len(left), 512):
        path.write_bytes(left[:length])
        assert JournalFile(path).records() == (FIRST, SECOND, THIRD)
        write(path, FIRST)
        assert JournalFile(path).records() == (FIRST, SECOND, THIRD, FIRST)


def test_a_record_torn_in_the_room_of_an_open_file_never_happened(path: Path) -> None:
    journal = JournalFile(path)
    journal.append(FIRST, durable=True)
    before = path.read_bytes()
    journal.append(THIRD, durable=True)
    after = path.read_bytes()
    journal.close()

    begin, end = before.rindex(b"\n") + 1, after.rindex(b"\n") + 1
    for place in range(begin, end):
        path.write_bytes(after[:place] + before[place:])
        assert JournalFile(path).records() == (FIRST, SECOND, FIRST), place


def test_a_write_that_fails_leaves_the_journal_as_it_was(path: Path) -> None:
    with closing(JournalFile(path)) as journal:
        full = OSError(28, "No space left on device")
        with patch.object(os, "fdatasync", side_effect=full), pytest.raises(Failed, match="No space left"):
            journal.append(THIRD, durable=True)
        assert journal.last() == SECOND

        journal.append(FIRST, durable=True)

    assert JournalFile(path).records() == (FIRST, SECOND, FIRST)

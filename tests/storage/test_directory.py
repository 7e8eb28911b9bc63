"""A datastore that is a directory: nothing leaves it, nothing in it is overwritten, nothing stays after a failure."""

from __future__ import annotations

from pathlib import Path

import pytest

from godwit.core.errors import Failed, Refused
from godwit.storage.directory import claimed, free_bytes, place_of, remove, write


def test_a_disk_lies_in_its_vms_folder(tmp_path: Path) -> None:
    assert place_of(tmp_path, vm="web-1", disk="data", format="raw") == tmp_path / "web-1" / "data.raw"


def test_a_link_that_leads_out_of_the_datastore_is_refused(tmp_path: Path) -> None:
    store, outside = tmp_path / "store", tmp_path / "outside"
    for each in (store, outside, store / "web-2"):
        each.mkdir()
    (store / "web-1").symlink_to(outside)
    (store / "web-2" / "data.raw").symlink_to(outside / "data.raw")

    for vm in ("web-1", "web-2"):
        with pytest.raises(Refused, match="leads out of its datastore"):
            place_of(store, vm=vm, disk="data", format="raw")


def test_a_datastore_may_itself_be_a_link(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "store").symlink_to(tmp_path / "real")

    assert place_of(tmp_path / "store", vm="web-1", disk="data", format="raw").parent.name == "web-1"


def test_what_is_there_is_not_touched(tmp_path: Path) -> None:
    place = place_of(tmp_path, vm="web-1", disk="data", format="raw")
    with claimed(place):
        write(place, b"precious")

    with pytest.raises(Refused, match="is there already"), claimed(place):
        write(place, b"other")
    assert place.read_bytes() == b"precious"
    assert place.stat().st_mode & 0o777 == 0o600


def test_after_a_failure_nothing_is_left(tmp_path: Path) -> None:
    place = place_of(tmp_path, vm="web-1", disk="data", format="raw")

    with pytest.raises(ZeroDivisionError), claimed(place):
        raise ZeroDivisionError
    assert list(tmp_path.iterdir()) == []


def test_a_folder_goes_with_its_last_disk(tmp_path: Path) -> None:
    places = [place_of(tmp_path, vm="web-1", disk=disk, format="raw") for disk in ("a", "b")]
    for place in places:
        with claimed(place):
            write(place, b"x")

    remove(places[0])
    assert list(tmp_path.iterdir()) == [tmp_path / "web-1"]
    for _ in range(2):
        remove(places[1])
        assert list(tmp_path.iterdir()) == []


def test_a_datastore_that_is_gone_is_named(tmp_path: Path) -> None:
    sentence = r"nowhere/web-1/data.raw cannot be made .No such file or directory."
    with pytest.raises(Failed, match=sentence), claimed(tmp_path / "nowhere" / "web-1" / "data.raw"):
        pass


def test_free_bytes_are_those_of_the_file_system(tmp_path: Path) -> None:
    assert 0 < free_bytes(tmp_path) < 1 << 60

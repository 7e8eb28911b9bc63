"""The firmware is found where a distribution puts it."""

from __future__ import annotations

from pathlib import Path

from godwit.storage.uefi import find


def test_the_first_place_with_both_files_counts(tmp_path: Path) -> None:
    for name in ("code-1", "code-2", "variables-2"):
        (tmp_path / name).write_bytes(b"firmware")
    places = tuple((str(tmp_path / f"code-{n}"), str(tmp_path / f"variables-{n}")) for n in (1, 2))

    found = find(places)

    assert found is not None
    assert (found.code, found.variables, found.code_bytes) == (*places[1], 8)
    assert find(places[:1]) is None

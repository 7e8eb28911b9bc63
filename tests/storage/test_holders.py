"""Who holds a disk is named."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from godwit.storage import holders as module
from godwit.storage.holders import blame, holders

OPENS = "import sys; file = open(sys.argv[1]); print('open', flush=True); input()"


def test_a_program_that_has_it_open_is_named(tmp_path: Path) -> None:
    disk = tmp_path / "disk.raw"
    disk.write_bytes(b"")
    words = [sys.executable, "-c", OPENS, str(disk)]
    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as program:
        assert program.stdout is not None
        program.stdout.readline()
        name = f"{os.path.basename(sys.executable)}, pid {program.pid}"
        assert holders(disk) == [name]
        assert holders(disk, but={program.pid}) == []
        assert blame(disk) == f"{disk} is open in {name}"
        program.kill()


def test_where_nobody_here_has_it_another_host_does(tmp_path: Path) -> None:
    disk = tmp_path / "disk.raw"
    disk.write_bytes(b"")

    assert blame(disk) == f"{disk} is open in no program on this host, so on another host that sees the same disk"
    assert holders(tmp_path / "absent") == []


def test_one_that_ends_while_it_is_looked_at_holds_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    disk = tmp_path / "disk.raw"
    disk.write_bytes(b"")
    look, ended = module._open_files, list[int]()

    def and_it_ends(process: Path) -> list[tuple[int, int]]:
        seen = list(look(process))
        if (disk.stat().st_dev, disk.stat().st_ino) in seen:
            program.kill()
            program.wait()
            ended.append(int(process.name))
        return seen

    monkeypatch.setattr(module, "_open_files", and_it_ends)
    words = [sys.executable, "-c", OPENS, str(disk)]
    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as program:
        assert program.stdout is not None
        program.stdout.readline()
        assert holders(disk) == []
    assert ended == [program.pid]

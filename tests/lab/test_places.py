"""Which labs there are."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from godwit.core.errors import Refused
from godwit.lab.places import Lab, Record, find_lab, others_up
from godwit.lab.processes import Identity, identify
from godwit.lab.settings import Settings


@pytest.fixture
def here(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="gw") as name:  # socket paths are short, pytest's directories long
        monkeypatch.setenv("XDG_RUNTIME_DIR", name)
        monkeypatch.setenv("XDG_STATE_HOME", name)
        yield Path(name)


def made(name: str, supervisor: Identity | None) -> Lab:
    lab = find_lab(name)
    lab.make_dirs()
    lab.write_record(Record(lab=name, settings=Settings(), supervisor=supervisor))
    return lab


@pytest.mark.usefixtures("here")
def test_who_looks_for_a_lab_that_is_not_up_learns_which_are() -> None:
    alive = identify(os.getpid())
    made("dead", None)
    assert others_up(find_lab("own")) == ""
    made("blue", alive)
    assert others_up(find_lab("own")) == "; up is blue: name one with GODWIT_LAB"
    made("red", alive)
    assert others_up(find_lab("blue")) == "; up is red: name one with GODWIT_LAB"
    with pytest.raises(Refused, match=r"lab own is not up: start it with godwit lab up; up are blue, red: name one"):
        find_lab("own").demand_running()

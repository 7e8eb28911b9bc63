"""The API's socket."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from godwit.api.serve import listen
from godwit.core.errors import Refused


def test_a_socket_of_its_owner_alone_that_can_be_connected(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "m.sock"
    with listen(path), socket.socket(socket.AF_UNIX) as caller:
        assert path.stat().st_mode & 0o777 == 0o600
        caller.connect(str(path))


def test_what_a_dead_manager_left_is_replaced(tmp_path: Path) -> None:
    path = tmp_path / "m.sock"
    listen(path).close()
    assert path.exists()
    listen(path).close()


def test_a_socket_that_is_answered_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "m.sock"
    with listen(path), pytest.raises(Refused, match="another manager answers at"):
        listen(path)


def test_a_path_too_long_for_a_socket_is_refused(tmp_path: Path) -> None:
    with pytest.raises(Refused, match="is longer than 107 bytes"):
        listen(tmp_path / ("x" * 100))


def test_a_place_where_nothing_can_be_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(Refused, match="cannot be made"):
        listen(tmp_path / "file" / "m.sock")

"""Where the manager is found."""

from __future__ import annotations

from pathlib import Path

import pytest

from godwit.client.locate import lab_socket, manager_socket, user_config
from godwit.core.errors import Invalid


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path / "run"))
    monkeypatch.delenv("GODWIT_MANAGER", raising=False)
    monkeypatch.delenv("GODWIT_LAB", raising=False)
    (tmp_path / "run").mkdir()
    (tmp_path / "godwit").mkdir()
    return tmp_path


def test_each_place_goes_before_the_next(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert manager_socket() == lab_socket() == home / "run" / "godwit" / "lab" / "manager.sock"
    user_config().write_text('manager = "/config.sock"\n')
    assert manager_socket() == Path("/config.sock")
    monkeypatch.setenv("GODWIT_MANAGER", "/environment.sock")
    assert manager_socket() == Path("/environment.sock")
    assert manager_socket("/named.sock") == Path("/named.sock")


def test_a_configuration_that_names_no_manager_is_passed_by() -> None:
    user_config().write_text("other = 1\n")
    assert manager_socket() == lab_socket()


@pytest.mark.parametrize(("text", "sentence"), [("manager = ", "cannot be read"), ("manager = 1", "must be a path")])
def test_a_configuration_in_wrong_words_is_invalid(text: str, sentence: str) -> None:
    user_config().write_text(text)
    with pytest.raises(Invalid, match=sentence):
        manager_socket()

"""Where the manager is found."""

from __future__ import annotations

from pathlib import Path

import pytest

from godwit.client.locate import lab_socket, manager_place, user_config
from godwit.client.place import Remote
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
    assert manager_place() == lab_socket() == home / "run" / "godwit" / "lab" / "manager.sock"
    user_config().write_text('manager = "/config.sock"\n')
    assert manager_place() == Path("/config.sock")
    monkeypatch.setenv("GODWIT_MANAGER", "/environment.sock")
    assert manager_place() == Path("/environment.sock")
    assert manager_place("/named.sock") == Path("/named.sock")


def test_a_configuration_that_names_no_manager_is_passed_by() -> None:
    user_config().write_text("")
    assert manager_place() == lab_socket()


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("manager = ", "cannot be read"),
        ("manager = 1", "manager must be text in quotes"),
        ("mangaer = 'x'", "mangaer is not known; allowed there are manager, token, ca"),
        ("token = 'gw_x'", "holds a token and others may read it: `chmod 600"),
    ],
)
def test_a_configuration_in_wrong_words_is_invalid(text: str, sentence: str) -> None:
    user_config().write_text(text)
    with pytest.raises(Invalid, match=sentence):
        manager_place()


def test_a_manager_over_tcp_with_what_it_needs(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    user_config().write_text('manager = "https://m:7443/"\ntoken = "gw_file"\nca = "/etc/ca.pem"\n')
    user_config().chmod(0o600)
    assert manager_place() == Remote("https://m:7443", "gw_file", Path("/etc/ca.pem"))
    monkeypatch.setenv("GODWIT_TOKEN", "gw_environment")
    monkeypatch.setenv("GODWIT_CA", "/other.pem")
    assert manager_place("https://n:1") == Remote("https://n:1", "gw_environment", Path("/other.pem"))
    assert "gw_" not in repr(manager_place("https://n:1"))


@pytest.mark.parametrize(
    ("named", "sentence"),
    [
        ("http://m:1", "is no place of a manager: write https://HOST:PORT"),
        ("https://m:1", "wants a token: set GODWIT_TOKEN"),
    ],
)
def test_a_manager_over_tcp_without_what_it_needs(named: str, sentence: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("GODWIT_TOKEN", raising=False)
    with pytest.raises(Invalid, match=sentence):
        manager_place(named)

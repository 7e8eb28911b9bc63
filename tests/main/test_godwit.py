"""The program: what it loads, and how whatever goes wrong becomes one line."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from typing import NoReturn

import pytest
import typer

from godwit.core.errors import KINDS, Unresolved, from_kind
from godwit.main import godwit


def raising(error: BaseException) -> Callable[[], NoReturn]:
    def command() -> NoReturn:
        raise error

    return command


def run_command(monkeypatch: pytest.MonkeyPatch, command: Callable[[], None]) -> int:
    app = typer.Typer()
    app.command("try")(command)
    monkeypatch.setattr(godwit, "COMMANDS", {"try": f"{__name__}:app"})
    monkeypatch.setitem(sys.modules, __name__, type(sys)(__name__))
    monkeypatch.setattr(sys.modules[__name__], "app", app, raising=False)
    return godwit.main(["try"])


@pytest.mark.parametrize("kind", KINDS)
def test_every_error_is_one_line_and_its_exit_status(
    kind: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    error = from_kind(kind, "what, where, and what to do")
    assert run_command(monkeypatch, raising(error)) == error.exit_status
    assert capsys.readouterr().err == "godwit: what, where, and what to do\n"


def test_a_bug_is_one_line_too(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.delenv("GODWIT_DEBUG", raising=False)
    assert run_command(monkeypatch, raising(ZeroDivisionError("many\nlines"))) == 1
    told = capsys.readouterr().err
    assert told == "godwit: a bug: ZeroDivisionError: many lines; set GODWIT_DEBUG=1 to see where, and report it\n"


def test_with_debug_the_traceback_is_shown(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("GODWIT_DEBUG", "1")
    assert run_command(monkeypatch, raising(Unresolved("in doubt"))) == 3
    told = capsys.readouterr().err
    assert "Traceback" in told
    assert told.endswith("godwit: in doubt\n")


def test_ctrl_c_is_told_in_a_word(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    assert run_command(monkeypatch, raising(KeyboardInterrupt())) == 130
    assert capsys.readouterr().err.strip() == "godwit: interrupted"


def test_the_help_names_every_command(capsys: pytest.CaptureFixture[str]) -> None:
    assert godwit.main(["--help"]) == 0
    shown = capsys.readouterr().out
    assert [name for name in godwit.COMMANDS if f" {name} " not in shown] == []


def test_a_listing_loads_nothing_that_it_does_not_need() -> None:
    """What makes a command slow is what it imports."""
    script = (
        "import sys; from godwit.main.godwit import main; main(['vm', 'list', '--manager', '/nowhere']);"
        "heavy = ('fastapi', 'grpc', 'uvicorn', 'structlog', 'websockets', 'godwit.lab', 'godwit.manager', 'asyncssh');"
        "print([name for name in heavy if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=200)
    assert done.stdout == "[]\n"
    assert done.stderr.startswith("godwit: no manager answers at /nowhere")


@pytest.mark.parametrize("daemon", ["manager", "agent"])
def test_a_daemon_without_its_file_says_so(daemon: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert godwit.main([daemon, "--config", "/nowhere.toml"]) == 2
    assert "/nowhere.toml cannot be read" in capsys.readouterr().err

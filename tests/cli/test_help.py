"""Every command shows how it is typed, and what it shows is right."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer.main
from tests.client.live import Live

from godwit.cli.completion import Shell
from godwit.main.godwit import COMMANDS, app, main

LAB = "lab"
"""Has a page of its own."""


def commands(group: Any, *words: str) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Every command below that group, with the words that lead there."""
    context = group.make_context("godwit", [], resilient_parsing=True)
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        if hasattr(command, "list_commands"):
            yield from commands(command, *words, name)
        else:
            yield (*words, name), command


ALL = [
    (words, command)
    for words, command in commands(typer.main.get_command(app))
    if words[0] != LAB and words[0] in COMMANDS
]


@pytest.mark.parametrize(("words", "command"), ALL, ids=lambda each: " ".join(each) if isinstance(each, tuple) else "")
def test_the_examples_of_a_command_are_ones(words: tuple[str, ...], command: Any) -> None:
    title, *examples = (command.epilog or "").split("\n\n")
    assert title in {"Example:", "Examples:"}, f"godwit {' '.join(words)} has no example"
    for line in examples:
        typed = shlex.split(line.removeprefix("$ ").partition(" > ")[0])
        assert typed[: len(words) + 1] == ["godwit", *words]
        command.make_context(words[-1], typed[len(words) + 1 :])


def test_help_shows_them(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["migration", "report", "--help"]) == 0
    assert "$ godwit migration report m1 --html m1.html" in capsys.readouterr().out


@pytest.mark.parametrize("shell", Shell)
def test_a_shell_is_told_how_to_complete(shell: Shell, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["completion", shell]) == 0
    assert "_GODWIT_COMPLETE=complete_" in capsys.readouterr().out


def asked(words: str, shell: Shell) -> dict[str, str]:
    """What each shell's own lines set when its user presses Tab after those words."""
    return {
        "_GODWIT_COMPLETE": f"complete_{shell}",
        **{
            Shell.bash: {"COMP_WORDS": words, "COMP_CWORD": str(words.count(" "))},
            Shell.zsh: {"_TYPER_COMPLETE_ARGS": words},
            Shell.fish: {"_TYPER_COMPLETE_ARGS": words, "_TYPER_COMPLETE_FISH_ACTION": "get-args"},
        }[shell],
    }


def completed(words: str, shell: Shell, **environment: str) -> str:
    argv = [sys.executable, "-m", "godwit.main.godwit"]
    env = os.environ | asked(words, shell) | environment
    done = subprocess.run(argv, env=env, capture_output=True, text=True, timeout=200, check=True)
    assert done.stderr == ""
    return done.stdout


@pytest.mark.parametrize("shell", Shell)
def test_words_are_completed_as_the_shell_asks(shell: Shell) -> None:
    said = completed("godwit vm s", shell)
    assert all(word in said for word in ("start", "stop", "show"))
    assert "delete" not in said


@pytest.mark.parametrize("shell", Shell)
def test_names_come_from_the_manager(shell: Shell, live: Live) -> None:
    assert main(["vm", "create", "web-1", "--network", "lan", "--manager", str(live.socket)]) == 0
    manager = {"GODWIT_MANAGER": str(live.socket)}
    assert "web-1" in completed("godwit migrate w", shell, **manager)
    hosts = completed("godwit migrate web-1 host-", shell, **manager)
    assert "host-a" in hosts
    assert "host-b" in hosts
    assert "web-1" not in completed("godwit migrate x", shell, **manager)


@pytest.mark.parametrize(
    ("words", "name"),
    [
        ("vm show w", "web-1"),
        ("migrate db-1,w", "db-1,web-1"),
        ("host show ", "host-a"),
        ("vm create db-1 --image b", "base"),
        ("vm create db-1 --network l", "lan"),
        ("vm create db-1 --host host-", "host-b"),
        ("datastore show d", "default"),
        ("migration report m", "m1"),
    ],
)
def test_each_kind_of_name(words: str, name: str, live: Live, capsys: pytest.CaptureFixture[str]) -> None:
    manager = ["--manager", str(live.socket)]
    assert main(["vm", "create", "web-1", "--network", "lan", "--host", "host-a", *manager]) == 0
    assert main(["migrate", "web-1", "host-b", *manager]) == 0
    assert name in completed(f"godwit {words}", Shell.bash, GODWIT_MANAGER=str(live.socket)).split()


def test_without_a_manager_no_name_is_completed_and_nothing_is_said() -> None:
    assert completed("godwit migrate w", Shell.bash, GODWIT_MANAGER="/nowhere").strip() == ""


@pytest.mark.parametrize(
    ("shell", "file"),
    [
        ("bash", ".bash_completions/godwit.sh"),
        ("zsh", ".zfunc/_godwit"),
        ("fish", ".config/fish/completions/godwit.fish"),
    ],
)
def test_a_shell_is_found_and_told(shell: str, file: str, tmp_path: Path) -> None:
    if not shutil.which(shell):
        pytest.skip(f"no {shell} here")
    command = f"{sys.executable} -m godwit.main.godwit --install-completion; true"  # true: else the shell is replaced
    env = {"HOME": str(tmp_path), "PATH": os.environ["PATH"]}
    subprocess.run([shell, "-c", command], env=env, capture_output=True, text=True, timeout=200, check=True)
    assert "_GODWIT_COMPLETE" in (tmp_path / file).read_text()


@pytest.mark.skipif(not os.path.exists("/bin/bash"), reason="no bash here")
def test_bash_understands_its_lines(capsys: pytest.CaptureFixture[str]) -> None:
    main(["completion", "bash"])
    lines = capsys.readouterr().out
    done = subprocess.run(["/bin/bash", "-n"], input=lines, capture_output=True, text=True, timeout=200, check=True)
    assert done.stderr == ""

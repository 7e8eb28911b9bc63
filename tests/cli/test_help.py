"""Every command shows how it is typed, and what it shows is right."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest
import typer.main

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


def test_words_are_completed_as_bash_asks() -> None:
    environment = os.environ | {"_GODWIT_COMPLETE": "complete_bash", "COMP_WORDS": "godwit vm s", "COMP_CWORD": "2"}
    argv = [sys.executable, "-m", "godwit.main.godwit"]
    done = subprocess.run(argv, env=environment, capture_output=True, text=True, timeout=60, check=True)
    assert {"start", "stop", "show"} <= set(done.stdout.split())


@pytest.mark.skipif(not os.path.exists("/bin/bash"), reason="no bash here")
def test_bash_understands_its_lines(capsys: pytest.CaptureFixture[str]) -> None:
    main(["completion", "bash"])
    lines = capsys.readouterr().out
    done = subprocess.run(["/bin/bash", "-n"], input=lines, capture_output=True, text=True, timeout=60, check=True)
    assert done.stderr == ""

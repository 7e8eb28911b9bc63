"""`godwit completion`: what makes a shell complete godwit's words."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

import typer

from godwit.cli.examples import example

app = typer.Typer()


class Shell(StrEnum):
    """A shell that can."""

    bash = "bash"
    zsh = "zsh"
    fish = "fish"


EXAMPLES = example(
    "godwit completion bash > /etc/bash_completion.d/godwit",
    'godwit completion zsh > "${fpath[1]}/_godwit"',
    "godwit completion fish > ~/.config/fish/completions/godwit.fish",
)


@app.command("completion", epilog=EXAMPLES)
def completion(shell: Annotated[Shell, typer.Argument()]) -> None:
    """Print the lines that make a shell complete commands and options."""
    from typer.completion import get_completion_script  # type: ignore[attr-defined]

    print(get_completion_script(prog_name="godwit", complete_var="_GODWIT_COMPLETE", shell=shell.value))

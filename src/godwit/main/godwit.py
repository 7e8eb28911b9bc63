"""The program `godwit`: its commands, each loaded when it is used, and the one place where errors become words."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib import import_module
from typing import Annotated, Any

import typer
import typer.core
import typer.main

from godwit.core.errors import GodwitError

COMMANDS = {
    "lab": "godwit.lab.commands:app",
    "host": "godwit.cli.host:app",
    "network": "godwit.cli.network:app",
    "datastore": "godwit.cli.datastore:app",
    "disk": "godwit.cli.disk:app",
    "image": "godwit.cli.image:app",
    "vm": "godwit.cli.vm:app",
    "check": "godwit.cli.check:app",
    "rehearse": "godwit.cli.rehearse:app",
    "migrate": "godwit.cli.migrate:app",
    "migration": "godwit.cli.migration:app",
    "doctor": "godwit.cli.doctor:app",
    "manager": "godwit.main.daemons:manager_app",
    "agent": "godwit.main.daemons:agent_app",
    "pki": "godwit.main.pki:app",
    "completion": "godwit.cli.completion:app",
}
"""Where each command is, in the order of the help."""


_COMPLETION = {"install_completion", "show_completion"}
UsageError: type[Exception] = typer.BadParameter.__mro__[1]
"""What typer raises for words that it does not understand, whoever it has that from."""


class LazyGroup(typer.core.TyperGroup):
    """A group whose commands are imported when they are asked for: `godwit vm list` must not wait for the lab."""

    def make_context(self, *args: Any, **more: Any) -> Any:
        """Of our own options."""
        with _usage_errors_as_ours():
            return super().make_context(*args, **more)

    def invoke(self, ctx: Any) -> Any:
        """What the command gives."""
        with _usage_errors_as_ours(ctx):
            return super().invoke(ctx)

    def list_commands(self, ctx: Any) -> list[str]:
        """All, in their order."""
        return list(COMMANDS)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """That one, imported."""
        if cmd_name not in COMMANDS:
            return None
        module, _, name = COMMANDS[cmd_name].partition(":")
        command = typer.main.get_command(getattr(import_module(module), name))
        command.name = cmd_name
        command.params = [each for each in command.params if each.name not in _COMPLETION]  # they are the program's
        return command


@contextmanager
def _usage_errors_as_ours(context: Any = None) -> Iterator[None]:
    """`Invalid`, which is one sentence, for what would be a box with the usage in it."""
    try:
        yield
    except UsageError as error:
        if type(error).__name__ == "NoArgsIsHelpError":  # no mistake: it has shown the help
            raise
        from godwit.cli.usage import refusal

        raise refusal(error, context) from error


START = "\n\n".join(
    (
        "To see it on this machine alone:",
        "$ godwit lab up",
        "$ godwit vm create web-1 --network lan",
        "$ godwit migrate web-1",
        "$ godwit lab down",
        "For real hosts: docs/install.md.",
    )
)
"""Below the help, for whoever types `godwit` for the first time."""

app = typer.Typer(
    cls=LazyGroup,
    help="Moves running virtual machines between hosts without dropping a connection.",
    no_args_is_help=True,
    epilog=START,
    context_settings={"help_option_names": ["--help", "-h"]},  # every command has them from here
    pretty_exceptions_enable=False,
)


def _print_version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        print(f"godwit {version('godwit')}")
        raise typer.Exit


VersionOption = Annotated[
    bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print it and leave.")
]


@app.callback()
def root(
    manager: Annotated[
        str | None, typer.Option(metavar="SOCKET|URL", help="The manager's socket or https://HOST:PORT.")
    ] = None,
    version: VersionOption = False,
) -> None:
    """Moves running virtual machines between hosts without dropping a connection."""
    if manager:
        os.environ["GODWIT_MANAGER"] = manager


def main(arguments: Sequence[str]) -> int:
    """Does what the arguments say and returns the exit status; whatever goes wrong is one line on standard error."""
    try:
        app(list(arguments), prog_name="godwit")
    except GodwitError as error:
        return _failed(error, error.message, error.exit_status)
    except KeyboardInterrupt as error:
        return _failed(error, "interrupted", 130)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # else Python complains at exit
        return 1
    except Exception as error:
        text = f"a bug: {type(error).__name__}: {error}; set GODWIT_DEBUG=1 to see where, and report it"
        return _failed(error, " ".join(text.split()), 1)
    except SystemExit as leaving:
        if _is_by_keyboard(leaving):
            return _failed(leaving, "interrupted", 130)
        return leaving.code if isinstance(leaving.code, int) else int(leaving.code is not None)
    return 0


def run() -> None:
    """The program. What it said is out when it ends; taking Python apart would take a tenth of its time."""
    os.environ.setdefault("PYDANTIC_DISABLE_PLUGINS", "__all__")  # there are none; looking for them takes time
    status = main(sys.argv[1:])
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except OSError:  # whoever read it is gone, or its disk is full
            status = status or 1
    os._exit(status)


def _is_by_keyboard(error: BaseException | None) -> bool:
    """Somebody pressed Ctrl-C, which typer turns into an exit without a word."""
    while error and not isinstance(error, GodwitError | KeyboardInterrupt):
        error = error.__context__
    return isinstance(error, KeyboardInterrupt)


def _failed(error: BaseException, text: str, status: int) -> int:
    if os.environ.get("GODWIT_DEBUG"):
        import traceback

        traceback.print_exception(error)
    print(f"godwit: {text}", file=sys.stderr)
    return status


if __name__ == "__main__":
    run()

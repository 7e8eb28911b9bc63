"""What the command line library says of wrong words, as one sentence of ours."""

from __future__ import annotations

import re
from typing import Any

from pydantic import ValidationError

from godwit.core.errors import Invalid
from godwit.core.wording import wrong


def refusal(error: Any, context: Any) -> Invalid:
    """What is wrong with the words, of which command, and where its help is; of the library's own `UsageError`.

    Some know no command: of those the context of all of them knows the first word at least.
    """
    what = " ".join(_what(error).split())
    first = getattr(context, "invoked_subcommand", None) or ""
    command = error.ctx.command_path if error.ctx else f"godwit {first}".strip()
    _, _, where = command.partition(" ")
    return Invalid(f"{f'{where}: ' if where else ''}{what}; see `{command} --help`")


def _what(error: Any) -> str:
    name = _name(error.param) if getattr(error, "param", None) else ""
    if isinstance(error.__cause__, ValidationError):
        first = error.__cause__.errors()[0]
        said = wrong(first).rstrip(".")
        return f"{name}: {said}" if repr(first["input"]) in said else f"{name} {first['input']!r}: {said}"
    if name and not error.message:
        return f"{name} is missing"
    text: str = error.format_message().rstrip(".?")
    return re.sub(r"\. (\w)", lambda found: f": {found[1].lower()}", text[:1].lower() + text[1:])


def _name(parameter: Any) -> str:
    """As a person types it, or reads it in the help."""
    if parameter.param_type_name == "option":
        return str(max(parameter.opts, key=len))
    return str(parameter.metavar or parameter.name.upper())

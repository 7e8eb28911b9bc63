"""`godwit pki`: certificates from the command line."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer
from pydantic import TypeAdapter, ValidationError

from godwit.core.errors import GodwitError, Invalid
from godwit.core.model import Name
from godwit.rpc import pki

app = typer.Typer(help="Certificates of manager and hosts.", no_args_is_help=True)


class Role(StrEnum):
    """Whom a certificate is for."""

    manager = "manager"
    agent = "agent"


@app.command()
def init(directory: Annotated[Path, typer.Option("--dir", help="Where the authority shall lie.")]) -> None:
    """Make the authority that all certificates come from. Keep its key off the hosts."""
    with _errors_as_one_sentence():
        ca = pki.init(directory)
        typer.echo(f"{ca.certificate}: give it to every host; {ca.key}: keep it secret")


@app.command()
def issue(
    role: Annotated[Role, typer.Argument(help="Whom it is for.")],
    name: Annotated[str, typer.Argument(help="The host's name (agent only).")] = "",
    *,
    directory: Annotated[Path, typer.Option("--dir", help="Where the authority lies.")],
    address: Annotated[list[str] | None, typer.Option(help="An IP address of the host; may be repeated.")] = None,
    out: Annotated[Path | None, typer.Option(help="Where to put it; the authority's directory if not given.")] = None,
) -> None:
    """Make a certificate and its key, good for two years."""
    with _errors_as_one_sentence():
        tls = pki.issue(directory, role.value, name=_named(role, name), addresses=address or (), out=out)
        typer.echo(f"ca: {tls.ca}\ncertificate: {tls.certificate}\nkey: {tls.key}")


def _named(role: Role, name: str) -> str:
    if role is Role.manager:
        if name:
            raise Invalid("the manager's certificate takes no name: leave it out")
        return "manager"
    try:
        return TypeAdapter(Name).validate_python(name)
    except ValidationError as error:
        raise Invalid(
            f"{name!r} is not a host's name: name it as its agent's configuration does, 1 to 40 of a-z 0-9 . -"
        ) from error


@contextmanager
def _errors_as_one_sentence() -> Iterator[None]:
    try:
        yield
    except GodwitError as error:
        typer.echo(f"godwit: {error.message}", err=True)
        raise typer.Exit(error.exit_status) from error

"""`godwit pki`: certificates from the command line."""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer
from pydantic import TypeAdapter, ValidationError

from godwit.cli.examples import example
from godwit.core.config import Role
from godwit.core.errors import GodwitError, Invalid
from godwit.core.model import Name
from godwit.rpc import pki

app = typer.Typer(help="Certificates of manager and hosts, and tokens for the REST API.", no_args_is_help=True)

TOKEN_BYTES = 32


class For(StrEnum):
    """Whom a certificate is for."""

    manager = "manager"
    agent = "agent"


@app.command(epilog=example("godwit pki init --dir /etc/godwit/pki"))
def init(directory: Annotated[Path, typer.Option("--dir", help="Where the authority shall lie.")]) -> None:
    """Make the authority that all certificates come from. Keep its key off the hosts."""
    with _errors_as_one_sentence():
        ca = pki.init(directory)
        typer.echo(f"{ca.certificate}: give it to every host; {ca.key}: keep it secret")


@app.command(
    epilog=example(
        "godwit pki issue manager --address 10.0.0.10 --dir /etc/godwit/pki --out /etc/godwit",
        "godwit pki issue agent host-a --address 10.0.0.11 --dir /etc/godwit/pki --out for-host-a",
    )
)
def issue(
    role: Annotated[For, typer.Argument(metavar="manager|agent", help="Whom it is for.")],
    name: Annotated[str, typer.Argument(metavar="NAME", help="The host's name (agent only).")] = "",
    *,
    directory: Annotated[Path, typer.Option("--dir", help="Where the authority lies.")],
    address: Annotated[list[str] | None, typer.Option(help="An IP address of the host; may be repeated.")] = None,
    out: Annotated[Path | None, typer.Option(help="Where to put it; the authority's directory if not given.")] = None,
) -> None:
    """Make a certificate and its key, good for two years."""
    with _errors_as_one_sentence():
        tls = pki.issue(directory, role.value, name=_named(role, name), addresses=address or (), out=out)
        typer.echo(f"ca: {tls.ca}\ncertificate: {tls.certificate}\nkey: {tls.key}")


@app.command(epilog=example("godwit pki token alice --role operate", "godwit pki token grafana --role read"))
def token(
    name: Annotated[str, typer.Argument(metavar="NAME", help="Whose it is; the audit log shows it.")],
    role: Annotated[Role, typer.Option(help="read: sees; operate: also starts, stops, moves; admin: everything.")],
) -> None:
    """Make a token for the REST API over TCP. It is printed once and stored nowhere."""
    with _errors_as_one_sentence():
        told = _name(name, "a token's name: 1 to 40 of a-z 0-9 . -")
        word = f"gw_{secrets.token_urlsafe(TOKEN_BYTES)}"
        digest = hashlib.sha256(word.encode()).hexdigest()
        typer.echo(f"the token of {told}, which nobody can show you again:", err=True)
        typer.echo(word)
        typer.echo("add this to the manager's configuration and restart the manager:", err=True)
        typer.echo(f'\n[[tokens]]\nname = "{told}"\nrole = "{role.value}"\nsha256 = "{digest}"', err=False)


def _named(role: For, name: str) -> str:
    if role is For.manager:
        if name:
            raise Invalid("the manager's certificate takes no name: leave it out")
        return "manager"
    return _name(name, "a host's name: name it as its agent's configuration does, 1 to 40 of a-z 0-9 . -")


def _name(name: str, what: str) -> str:
    try:
        return TypeAdapter(Name).validate_python(name)
    except ValidationError as error:
        raise Invalid(f"{name!r} is not {what}") from error


@contextmanager
def _errors_as_one_sentence() -> Iterator[None]:
    try:
        yield
    except GodwitError as error:
        typer.echo(f"godwit: {error.message}", err=True)
        raise typer.Exit(error.exit_status) from error

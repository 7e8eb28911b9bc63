"""What a shell may complete: the names that the manager knows; whatever goes wrong, none, quietly."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import typer

if TYPE_CHECKING:
    from godwit.client.client import Client

ANSWER_S = 2.0
"""Nobody waits longer for the Tab key."""

Completer = Callable[[typer.Context, str], list[str]]


def vms(context: typer.Context, incomplete: str) -> list[str]:
    """Names of VMs."""
    return _matching(context, incomplete, lambda client: [vm.name for vm in client.vms()])


def several_vms(context: typer.Context, incomplete: str) -> list[str]:
    """A list of VMs with commas: the last one is completed, none is named twice."""
    before, comma, last = incomplete.rpartition(",")
    named = before.split(",")
    return [f"{before}{comma}{name}" for name in vms(context, last) if name not in named]


def hosts(context: typer.Context, incomplete: str) -> list[str]:
    """Names of hosts."""
    return _matching(context, incomplete, lambda client: [host.name for host in client.hosts()])


def networks(context: typer.Context, incomplete: str) -> list[str]:
    """Names of networks."""
    return _matching(context, incomplete, lambda client: [network.name for network in client.networks()])


def datastores(context: typer.Context, incomplete: str) -> list[str]:
    """Names of datastores."""
    return _matching(context, incomplete, lambda client: [datastore.name for datastore in client.datastores()])


def images(context: typer.Context, incomplete: str) -> list[str]:
    """Names of images."""
    return _matching(context, incomplete, lambda client: [image.name for image in client.images()])


def migrations(context: typer.Context, incomplete: str) -> list[str]:
    """Every migration, the newest first."""
    return _matching(context, incomplete, lambda client: [each.id for each in reversed(client.migrations())])


def migrations_under_way(context: typer.Context, incomplete: str) -> list[str]:
    """Those that have not ended."""
    return _matching(context, incomplete, lambda client: [each.id for each in client.migrations() if not each.is_ended])


def _matching(context: typer.Context, incomplete: str, ask: Callable[[Client], Sequence[str]]) -> list[str]:
    from godwit.client.client import Client
    from godwit.client.locate import manager_place
    from godwit.core.errors import GodwitError

    named = context.params.get("manager") or context.find_root().params.get("manager")
    try:
        with Client(manager_place(named), timeout_s=ANSWER_S) as client:
            return [name for name in ask(client) if name.startswith(incomplete)]
    except GodwitError:
        return []

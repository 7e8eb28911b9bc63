"""What lies on hosts that nobody needs, as `godwit doctor` shows it."""

from __future__ import annotations

from json import dumps
from typing import TYPE_CHECKING

from godwit.cli.show import connected, print_table
from godwit.core.errors import GodwitError

if TYPE_CHECKING:
    from godwit.client.client import Client
    from godwit.core.leftover import Leftover


def examine(host: str | None, *, repair: bool, json: bool, manager: str | None) -> bool:
    """Shown; whether something is left that a person must look at, or that `--repair` would remove."""
    with connected(manager) as client:
        names = [host] if host else [each.name for each in client.hosts()]
        found = {name: _asked(client, name, repair=repair) for name in names}
    if json:
        shapes = {name: [each.model_dump() for each in told] for name, told in found.items()}
        print(dumps(shapes, indent=2, ensure_ascii=False))
    else:
        _print(found)
    return any(not each.removed for told in found.values() for each in told)


def _asked(client: Client, host: str, *, repair: bool) -> tuple[Leftover, ...]:
    from godwit.core.leftover import Leftover

    try:
        return client.leftovers(host, repair=repair).found
    except GodwitError as error:
        return (Leftover(what="nothing is known", where=host, why=error.message, remedy="start its agent"),)


def _print(found: dict[str, tuple[Leftover, ...]]) -> None:
    rows = [
        (host, each.what, each.where, each.why, "removed" if each.removed else each.remedy or "godwit doctor --repair")
        for host, told in found.items()
        for each in told
    ]
    if rows:
        print_table(("HOST", "WHAT", "WHERE", "WHY", "REMEDY"), rows)
    else:
        print(f"nothing is left over on {', '.join(found)}")

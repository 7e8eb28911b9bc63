"""What is wrong with hosts, and what lies there that nobody needs, as `godwit doctor` shows it."""

from __future__ import annotations

from json import dumps
from typing import TYPE_CHECKING

from godwit.cli.check import print_findings
from godwit.cli.show import connected, print_table
from godwit.core.errors import GodwitError

if TYPE_CHECKING:
    from godwit.client.client import Client
    from godwit.core.checked import HostChecked
    from godwit.core.leftover import Leftover


def examine(host: str | None, *, repair: bool, json: bool, manager: str | None) -> bool:
    """Shown; whether something is wrong, or left that a person must look at or that `--repair` would remove.

    To repair is to remove what is left over; nothing else is looked at then.
    """
    with connected(manager) as client:
        names = [host] if host else [each.name for each in client.hosts()]
        left = {name: _asked(client, name, repair=repair) for name in names}
        checks = [] if repair else [client.check_host(name) for name in names]
    if json:
        told = {name: {"leftovers": [each.model_dump() for each in some]} for name, some in left.items()}
        for each in checks:
            told[each.host] |= each.model_dump(mode="json", include={"others", "findings"})
        print(dumps(told, indent=2, ensure_ascii=False))
    else:
        _print(left)
        _print_checks(checks)
    return any(each.findings for each in checks) or any(not each.removed for some in left.values() for each in some)


def _print_checks(checks: list[HostChecked]) -> None:
    for each in checks:
        if each.findings:
            print(f"\n{each.host}:")
            print_findings(each.findings)
    well = [each.host for each in checks if not each.findings and each.others]
    if well:
        print(f"nothing is wrong with the networks, links, clocks and load of {', '.join(well)}")


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

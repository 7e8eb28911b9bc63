"""How resources are printed: JSON as the REST API has it, or aligned columns that no width cuts."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from pydantic import BaseModel

    from godwit.client.client import Client
    from godwit.client.migrations import Migrations

GAP = "  "
LEAST = 8
"""Columns of a table are not made narrower than that."""

JsonOption = Annotated[bool, typer.Option("--json", help="Print what the REST API answers.")]
ManagerOption = Annotated[
    str | None,
    typer.Option(
        "--manager", metavar="SOCKET|URL", help="The manager's socket or https://HOST:PORT.", envvar="GODWIT_MANAGER"
    ),
]


@contextmanager
def moving(manager: str | None) -> Iterator[Migrations]:
    """As `connected`, for what has to do with migrations alone: it is there sooner."""
    from godwit.client.locate import manager_place
    from godwit.client.migrations import Migrations

    with Migrations(manager_place(manager)) as client:
        yield client


@contextmanager
def connected(manager: str | None) -> Iterator[Client]:
    """A client of the manager that this command means."""
    from godwit.client.client import Client
    from godwit.client.locate import manager_place

    with Client(manager_place(manager)) as client:
        yield client


def print_json(value: BaseModel | Sequence[BaseModel]) -> None:
    """The REST API's shape on standard output."""
    import json

    from pydantic import BaseModel

    def shape(each: BaseModel) -> object:
        return each.model_dump(mode="json")

    shapes = shape(value) if isinstance(value, BaseModel) else [shape(each) for each in value]
    print(json.dumps(shapes, indent=2, ensure_ascii=False))


def print_json_text(text: str) -> None:
    """The same of what the REST API told."""
    import json

    print(json.dumps(json.loads(text), indent=2, ensure_ascii=False))


def print_table(heads: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    """Aligned columns under their heads; only a terminal cuts what is too wide for it."""
    cells = [list(heads), *([_cell(each) for each in row] for row in rows)]
    widths = [max(len(row[column]) for row in cells) for column in range(len(heads))]
    if sys.stdout.isatty():
        widths = fitting(widths, shutil.get_terminal_size().columns)
    for row in cells:
        shown = (_cut(cell, width).ljust(width) for cell, width in zip(row, widths, strict=True))
        print(GAP.join(shown).rstrip())


def fitting(widths: Sequence[int], columns: int) -> list[int]:
    """The widths, the widest taken back until all fit; none below LEAST, which may then not fit."""
    shrunk = list(widths)
    while sum(shrunk) + len(GAP) * (len(shrunk) - 1) > columns and max(shrunk) > LEAST:
        shrunk[shrunk.index(max(shrunk))] -= 1
    return shrunk


def _cut(text: str, width: int) -> str:
    return text if len(text) <= width else text[: width - 1] + "…"


def print_pairs(pairs: Sequence[tuple[str, object]]) -> None:
    """One fact a line, its name before it."""
    width = max(len(name) for name, _ in pairs) + 1
    for name, value in pairs:
        print(f"{name + ':':{width}} {_cell(value, ', ')}")


def warn(text: str) -> None:
    """One line on standard error."""
    print(text, file=sys.stderr, flush=True)


def _cell(value: object, comma: str = ",") -> str:
    if value is None or value in ("", {}):
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list | tuple):
        return comma.join(str(each) for each in value) or "-"
    if isinstance(value, datetime):
        return value.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
    return str(value)

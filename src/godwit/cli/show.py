"""How resources are printed: JSON as the REST API has it, or aligned columns that no width cuts."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from pydantic import BaseModel

    from godwit.client.client import Client

JsonOption = Annotated[bool, typer.Option("--json", help="Print what the REST API answers.")]
ManagerOption = Annotated[
    str | None,
    typer.Option(
        "--manager", metavar="SOCKET|URL", help="The manager's socket or https://HOST:PORT.", envvar="GODWIT_MANAGER"
    ),
]


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


def print_table(heads: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    """Aligned columns under their heads; nothing but the heads when there is nothing."""
    cells = [list(heads), *([_cell(each) for each in row] for row in rows)]
    widths = [max(len(row[column]) for row in cells) for column in range(len(heads))]
    for row in cells:
        print("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())


def print_pairs(pairs: Sequence[tuple[str, object]]) -> None:
    """One fact a line, its name before it."""
    width = max(len(name) for name, _ in pairs) + 1
    for name, value in pairs:
        print(f"{name + ':':{width}} {_cell(value)}")


def warn(text: str) -> None:
    """One line on standard error."""
    print(text, file=sys.stderr, flush=True)


def _cell(value: object) -> str:
    if value is None or value == "":
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list | tuple):
        return ",".join(str(each) for each in value) or "-"
    return str(value)

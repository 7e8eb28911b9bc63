"""Reads a daemon's TOML file into its configuration, or says in one sentence what is wrong with it, and where."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import UnionType
from typing import Annotated, Any, TypeVar, Union, get_args, get_origin

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from godwit.core.errors import Invalid
from godwit.core.wording import place, wrong

Config = TypeVar("Config", bound=BaseModel)
Place = tuple[int | str, ...]

_HEADER = re.compile(r"\s*(\[\[?)\s*([^\]]+?)\s*\]\]?\s*(#.*)?$")
_KEY = re.compile(r"""\s*((?:[\w-]+|"[^"]*"|'[^']*')(?:\s*\.\s*(?:[\w-]+|"[^"]*"|'[^']*'))*)\s*=""")


def read_config(path: Path, kind: type[Config]) -> Config:
    """The file's configuration; `Invalid` names file, line, key, and what is allowed there."""
    try:
        text = path.read_text()
        words = tomllib.loads(text)
    except OSError as error:
        raise Invalid(
            f"the configuration {path} cannot be read: {error.strerror}; name it with --config", "config"
        ) from error
    except ValueError as error:  # of which tomllib's and UTF-8's are kinds; tomllib's text names line and column
        raise Invalid(f"{path} is no TOML: {error}", "config") from error
    try:
        return kind.model_validate(words)
    except ValidationError as error:
        first = error.errors()[0]
        line = line_of(text, first["loc"])
        where = f"{path}, line {line}" if line else str(path)
        raise Invalid(f"{where}: {_sentence(error.errors(), kind)}", "config") from None


def line_of(text: str, place: Place) -> int | None:
    """The line of that key, or of the innermost table around it that the file names; none: it names none."""
    best, found = 0, None
    for number, at in _places(text):
        depth = _shared(at, place)
        if depth == len(at) and depth > best:
            best, found = depth, number
    return found


def _places(text: str) -> list[tuple[int, Place]]:
    """Each line that names something, and what."""
    places: list[tuple[int, Place]] = []
    table: Place = ()
    counts: dict[Place, int] = {}
    for number, line in enumerate(text.splitlines(), 1):
        if header := _HEADER.match(line):
            table = _parts(header[2])
            if header[1] == "[[":
                counts[table] = counts.get(table, -1) + 1
                table = (*table, counts[table])
            places.append((number, table))
        elif key := _KEY.match(line):
            places.append((number, (*table, *_parts(key[1]))))
    return places


def _parts(dotted: str) -> Place:
    return tuple(part.strip().strip("\"'") for part in re.findall(r"""[\w-]+|"[^"]*"|'[^']*'""", dotted))


def _shared(one: Place, other: Place) -> int:
    count = 0
    for mine, theirs in zip(one, other, strict=False):
        if mine != theirs:
            break
        count += 1
    return count


def _sentence(errors: Sequence[ErrorDetails], kind: type[BaseModel]) -> str:
    first = errors[0]
    key = place(first["loc"])
    more = f" (and {len(errors) - 1} more)" if len(errors) > 1 else ""
    if first["type"] == "extra_forbidden":
        return f"{key} is not known; allowed there are {', '.join(_allowed(kind, first['loc'][:-1]))}{more}"
    if first["type"] == "missing":
        return f"{key} is missing{more}"
    if not first["loc"]:
        return f"{wrong(first)}{more}"
    return f"{key} is {first['input']!r}: {wrong(first)}{more}"


def _allowed(kind: Any, place: Sequence[int | str]) -> list[str]:
    """The keys of the table at that place."""
    for key in place:
        kind = _inner(kind, key)
    return list(_bare(kind).model_fields)


def _inner(kind: Any, key: int | str) -> Any:
    kind = _bare(kind)
    origin = get_origin(kind)
    if isinstance(kind, type) and issubclass(kind, BaseModel):
        return kind.model_fields[str(key)].annotation
    if isinstance(origin, type) and issubclass(origin, Mapping):
        return get_args(kind)[1]
    return get_args(kind)[0]


def _bare(kind: Any) -> Any:
    """Without what may be left out."""
    if get_origin(kind) in (Union, UnionType):
        return next(each for each in get_args(kind) if each is not type(None))
    return get_args(kind)[0] if get_origin(kind) is Annotated else kind

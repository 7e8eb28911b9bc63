"""Reads a daemon's TOML file into its configuration, or says in one sentence what is wrong with it."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar, get_args, get_origin

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from godwit.core.errors import Invalid

Config = TypeVar("Config", bound=BaseModel)


def read_config(path: Path, kind: type[Config]) -> Config:
    """The file's configuration; `Invalid` names file, key (or line), and what is allowed there."""
    try:
        words = tomllib.loads(path.read_text())
    except OSError as error:
        raise Invalid(f"the configuration {path} cannot be read: {error.strerror}; name it with --config") from error
    except ValueError as error:  # of which tomllib's and UTF-8's are kinds; tomllib's text names line and column
        raise Invalid(f"{path} is no TOML: {error}") from error
    try:
        return kind.model_validate(words)
    except ValidationError as error:
        raise Invalid(f"{path}: {_sentence(error.errors(), kind)}") from None


def _sentence(errors: Sequence[ErrorDetails], kind: type[BaseModel]) -> str:
    first = errors[0]
    key = ".".join(str(each) for each in first["loc"])
    more = f" (and {len(errors) - 1} more)" if len(errors) > 1 else ""
    if first["type"] == "extra_forbidden":
        return f"{key} is not known; allowed there are {', '.join(_allowed(kind, first['loc'][:-1]))}{more}"
    if first["type"] == "missing":
        return f"{key} is missing{more}"
    return f"{key} is {first['input']!r}: {first['msg']}{more}"


def _allowed(kind: Any, place: Sequence[int | str]) -> list[str]:
    """The keys of the table at that place."""
    for key in place:
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            kind = kind.model_fields[str(key)].annotation
        elif isinstance(get_origin(kind), type) and issubclass(get_origin(kind), Mapping):
            kind = get_args(kind)[1]
    return list(kind.model_fields)

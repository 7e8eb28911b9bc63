"""A person's words: for amounts, and for what is wrong with a value that somebody wrote."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from godwit.core.value import MIB, NAME

if TYPE_CHECKING:
    from pydantic_core import ErrorDetails

_WANTED: Mapping[str, str] = MappingProxyType(
    {
        "greater_than_equal": "write at least {ge}",
        "greater_than": "write more than {gt}",
        "less_than_equal": "write at most {le}",
        "less_than": "write less than {lt}",
        "int_type": "write a whole number",
        "int_parsing": "write a whole number",
        "int_from_float": "write a whole number",
        "bool_type": "write true or false",
        "bool_parsing": "write true or false",
        "enum": "write {expected}",
        "literal_error": "write {expected}",
        "value_error": "{error}",
    }
)
"""By pydantic's name for the error; it has the values."""
_NAMES = "write 1 to 40 of a-z, 0-9, . and -, with a letter or digit at both ends"


_LARGER = (("TiB", 1024**2), ("GiB", 1024))
"""In MiB, the largest first."""


def size(amount_bytes: float) -> str:
    """In MiB, and from ten of the next unit on in that: everywhere the same, so that figures can be compared."""
    mib = amount_bytes / MIB
    unit, many = next(((unit, each) for unit, each in _LARGER if mib >= 10 * each), ("MiB", 1))
    return f"{f'{mib / many:.1f}'.removesuffix('.0')} {unit}"


def wrong(error: ErrorDetails) -> str:
    """Of what pydantic found; without the value and its place."""
    context: dict[str, Any] = error.get("ctx", {})
    if context.get("pattern") == NAME:
        return _NAMES
    return _WANTED[error["type"]].format(**context) if error["type"] in _WANTED else error["msg"]

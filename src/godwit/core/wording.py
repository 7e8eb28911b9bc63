"""A person's words: for amounts, and for what is wrong with a value that somebody wrote."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from godwit.core.value import ENDPOINT, MAC_ADDRESS, MIB, NAME, SSH_KEY, USER_NAME

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
        "missing": "it is missing",
        "ip_v4_address": "write an IP address, such as 10.90.0.1",
        "ip_v6_address": "write an IP address, such as 10.90.0.1 or fd00::1",
    }
)
"""By pydantic's name for the error; it has the values."""
_PATTERNS: Mapping[str, str] = MappingProxyType(
    {
        NAME: "write 1 to 40 of a-z, 0-9, . and -, with a letter or digit at both ends",
        USER_NAME: "write 1 to 32 of a-z, 0-9, _ and -, no digit first",
        SSH_KEY: "write a public key as it stands in its .pub file",
        MAC_ADDRESS: "write it like 52:54:00:12:34:56",
        ENDPOINT: "write ADDRESS:PORT, such as 10.0.0.1:7411 or [fd00::1]:7411",
    }
)


_LARGER = (("TiB", 1024**2), ("GiB", 1024))
"""In MiB, the largest first."""


def size(amount_bytes: float) -> str:
    """In MiB, and from ten of the next unit on in that: everywhere the same, so that figures can be compared."""
    mib = amount_bytes / MIB
    unit, many = next(((unit, each) for unit, each in _LARGER if mib >= 10 * each), ("MiB", 1))
    return f"{f'{mib / many:.1f}'.removesuffix('.0')} {unit}"


def wrong(error: ErrorDetails) -> str:
    """Of what pydantic found; without the value and its place."""
    context: dict[str, Any] = {key: _plain(value) for key, value in error.get("ctx", {}).items()}
    if context.get("pattern") in _PATTERNS:
        return _PATTERNS[context["pattern"]]
    return _WANTED[error["type"]].format(**context) if error["type"] in _WANTED else error["msg"]


def place(loc: Sequence[int | str]) -> str:
    """Where that is, by the names that people write; without the names of types that pydantic puts in between."""
    return ".".join(str(each) for each in loc if not re.search(r"[\[(]", str(each)))


def _plain(value: Any) -> Any:
    """A whole number without a point."""
    return int(value) if isinstance(value, float) and value.is_integer() else value

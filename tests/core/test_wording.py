"""Each sort of wrong value is told of in a person's words."""

from __future__ import annotations

from typing import Any, Literal

import pytest
from pydantic import Field, ValidationError, field_validator

from godwit.core.value import DiskFormat, Name, Value
from godwit.core.wording import size, wrong


class Thing(Value):
    """Of everything that can be written wrong."""

    name: Name = "web"
    cpus: int = Field(default=1, ge=1, le=8)
    share: float = Field(default=0.5, gt=0, lt=1)
    is_on: bool = True
    format: DiskFormat = DiskFormat.raw
    kind: Literal["one", "other"] = "one"
    address: str = Field(default="a:1", pattern=":")
    colour: str = "red"

    @field_validator("colour")
    @classmethod
    def _is_red(cls, colour: str) -> str:
        if colour != "red":
            raise ValueError(f"{colour} is not red")
        return colour


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ({"name": "Web"}, "write 1 to 40 of a-z, 0-9, . and -, with a letter or digit at both ends"),
        ({"cpus": 0}, "write at least 1"),
        ({"cpus": 9}, "write at most 8"),
        ({"cpus": "many"}, "write a whole number"),
        ({"cpus": 1.5}, "write a whole number"),
        ({"share": 0}, "write more than 0"),
        ({"share": 1}, "write less than 1"),
        ({"is_on": "perhaps"}, "write true or false"),
        ({"format": "vmdk"}, "write 'raw' or 'qcow2'"),
        ({"kind": "both"}, "write 'one' or 'other'"),
        ({"address": "here"}, "String should match pattern ':'"),
        ({"colour": "blue"}, "blue is not red"),
    ],
)
def test_what_to_write_instead(words: dict[str, Any], said: str) -> None:
    with pytest.raises(ValidationError) as caught:
        Thing.model_validate(words)
    assert wrong(caught.value.errors()[0]) == said


@pytest.mark.parametrize(
    ("amount", "said"),
    [
        (0, "0 MiB"),
        (1_572_864, "1.5 MiB"),
        (64 << 20, "64 MiB"),
        (2 << 30, "2048 MiB"),
        (10 << 30, "10 GiB"),
        (12345 << 20, "12.1 GiB"),
        (1 << 40, "1024 GiB"),
        (10 << 40, "10 TiB"),
    ],
)
def test_amounts_are_told_in_units_that_suit_them(amount: int, said: str) -> None:
    assert size(amount) == said

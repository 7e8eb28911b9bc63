"""What every model is made of; apart from them, because whoever needs only one of them shall not build all."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

from pydantic import BaseModel, ConfigDict, PlainSerializer, StringConstraints

NAME = r"^[a-z0-9]([a-z0-9.-]{0,38}[a-z0-9])?$"
Name = Annotated[str, StringConstraints(pattern=NAME)]
"""A name that is also a directory and a DNS label: 1 to 40 of a-z 0-9 . -, letter or digit at both ends."""

USER_NAME = r"^[a-z_][a-z0-9_-]{0,31}$"
SSH_KEY = r"^(ssh-|ecdsa-|sk-)[ -~]+$"
MAC_ADDRESS = r"^[0-9a-f]{2}(:[0-9a-f]{2}){5}$"
ENDPOINT = r"^(\[[0-9a-fA-F:]+\]|[^:\s]+):[0-9]{1,5}$"
MIB = 1024 * 1024

Rounded = Annotated[float, PlainSerializer(lambda number: round(number, 3), return_type=float, when_used="json")]
"""A figure of a report: told to three decimals, which of milliseconds are microseconds; no clock here knows more."""


class Value(BaseModel):
    """A frozen value that refuses what it does not know."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Fact(BaseModel):
    """A frozen value told by a peer, who may be newer: unknown fields are ignored."""

    model_config = ConfigDict(frozen=True, extra="ignore")


class DiskFormat(StrEnum):
    """How a disk's file holds its bytes."""

    raw = "raw"
    qcow2 = "qcow2"

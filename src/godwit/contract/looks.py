"""What a host is asked to look at before a migration. Nothing is changed; a few frames are sent."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, StringConstraints

from godwit.core.looked import FileLook, SegmentLook
from godwit.core.model import Fact, Name, Value


class LookAtFiles(Value):
    """Are they there?"""

    paths: tuple[str, ...] = Field(max_length=1000)


class FilesLook(Fact):
    """In the order asked for."""

    files: tuple[FileLook, ...]


class SegmentProbe(Value):
    """A network to send frames into."""

    network: Name
    addresses: tuple[str, ...] = ()
    """IPv4 addresses for which nobody beyond the uplinks should answer."""


class ExchangeFrames(Value):
    """Send probe frames out of each bridge's uplinks, and listen there for those of the other host."""

    token: Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{16}$")]
    """The same at both hosts, and at no others."""
    other: Name
    """The host that is asked the same at this moment."""
    segments: tuple[SegmentProbe, ...]


class SegmentsLook(Fact):
    """What each network carried, in the order asked for; those that the host does not have are left out."""

    segments: tuple[SegmentLook, ...]

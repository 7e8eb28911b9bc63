"""What the hand-over needs a journal to be: the durable memory of who owns a VM."""

from __future__ import annotations

from typing import Protocol

from godwit.core.ownership import Record


class Journal(Protocol):
    """Append-only; one per VM and host."""

    def last(self) -> Record | None:
        """The newest whole record; a torn one at the end counts as never written."""
        ...

    def records(self) -> tuple[Record, ...]:
        """All whole records, oldest first."""
        ...

    def append(self, record: Record, /, *, durable: bool) -> None:
        """The record is written; if `durable`, it also survives a power cut when this returns."""
        ...

"""Small facts about a VM that must survive the agent: one file each, whole or not there."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path
from typing import Generic, TypeVar

from pydantic import BaseModel

from godwit.core.errors import Failed

Kept = TypeVar("Kept", bound=BaseModel)


class Note(Generic[Kept]):
    """What one file says."""

    def __init__(self, path: Path, kind: type[Kept]) -> None:
        self._path = path
        self._kind = kind

    def read(self) -> Kept | None:
        """What was written last, if anything."""
        try:
            return self._kind.model_validate_json(self._path.read_text())
        except FileNotFoundError:
            return None

    def write(self, kept: Kept) -> None:
        """It survives a power cut; `Failed`, and the old one stays, on a full disk."""
        draft = self._path.with_suffix(".new")
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            with draft.open("w") as file:
                file.write(kept.model_dump_json())
                file.flush()
                os.fsync(file.fileno())
            os.replace(draft, self._path)
        except OSError as error:
            raise Failed(f"{self._path} cannot be written: {error.strerror}; make room there", "disk-full") from error

    async def keep(self, kept: Kept) -> None:
        """As `write`, beside the loop: a disk that is busy takes its time."""
        writing = asyncio.ensure_future(asyncio.to_thread(self.write, kept))
        try:
            await asyncio.shield(writing)
        except asyncio.CancelledError:
            await asyncio.wait({writing})  # or who writes next shares its draft
            raise

    def drop(self) -> None:
        """Nothing is said any more."""
        self._path.unlink(missing_ok=True)

"""What an agent must know after its restart is written beside its loop, and by one at a time."""

from __future__ import annotations

import asyncio
import os
import threading
from pathlib import Path

import pytest

from godwit.agent.notes import Note
from godwit.contract.host import VmRef
from godwit.core.errors import Failed

pytestmark = pytest.mark.anyio


async def test_a_disk_that_is_busy_holds_up_nobody(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    note, may_end = Note(tmp_path / "note.json", VmRef), threading.Event()
    monkeypatch.setattr(os, "fsync", lambda _: may_end.wait())
    writing = asyncio.create_task(note.keep(VmRef(name="web-1")))
    await asyncio.sleep(0)
    writing.cancel()
    await asyncio.sleep(0)
    assert not writing.done(), "who writes next would share its draft"

    may_end.set()
    with pytest.raises(asyncio.CancelledError):
        await writing
    assert note.read() == VmRef(name="web-1")


async def test_a_full_disk_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(Failed, match="cannot be written"):
        await Note(tmp_path / "file" / "note.json", VmRef).keep(VmRef(name="web-1"))

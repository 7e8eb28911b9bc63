"""QEMU's storage daemon, the real one."""

from __future__ import annotations

import asyncio
import shutil
from pathlib import Path

import pytest

from godwit.qemu import storage_daemon

DAEMON = """#!/bin/sh
[ -e {first} ] && exec {real} "$@"
touch {first}
exec sleep 600
"""


def test_one_that_never_greets_is_started_once_more(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = shutil.which("qemu-storage-daemon")
    first = tmp_path / "first"
    program = tmp_path / "qemu-storage-daemon"
    program.write_text(DAEMON.format(first=first, real=real))
    program.chmod(0o755)
    monkeypatch.setattr(storage_daemon, "START_S", (5.0, 60.0))

    async def story() -> None:
        machine = await storage_daemon.start(tmp_path / "run", qemu=str(tmp_path / "qemu-system-x86_64"), env={})
        assert await machine.monitor.execute("query-named-block-nodes") == []
        await machine.retire()

    asyncio.run(story())
    assert first.exists()
    assert not (tmp_path / "run").exists()

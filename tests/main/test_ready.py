"""systemd is told when a daemon is ready."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest

from godwit.main.ready import tell_ready


@pytest.mark.parametrize("is_abstract", [False, True])
def test_whoever_waits_is_told(is_abstract: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    place = f"@godwit-test-{os.getpid()}" if is_abstract else str(tmp_path / "n")
    monkeypatch.setenv("NOTIFY_SOCKET", place)
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as waiting:
        waiting.bind(place.replace("@", "\0"))
        waiting.settimeout(60)
        tell_ready()
        assert waiting.recv(100) == b"READY=1"


def test_nobody_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NOTIFY_SOCKET", raising=False)
    tell_ready()

"""Encryption of disks on their way: a key of its own for each move, made by the destination."""

from __future__ import annotations

import contextlib
import os
import secrets
from pathlib import Path
from typing import Literal

from godwit.core.errors import Failed
from godwit.qemu.monitor import Monitor
from godwit.qemu.secrecy import GROUP, GROUP_FILE

OBJECT = "disk-key"
_USER = "godwit"
_KEY_BYTES = 32


def make_key() -> str:
    """A new one, in hexadecimal."""
    return secrets.token_hex(_KEY_BYTES)


async def use_key(monitor: Monitor, run_dir: Path, key: str, endpoint: Literal["client", "server"]) -> None:
    """Connections that name `OBJECT` are encrypted with that key from now on."""
    directory = _written(run_dir / OBJECT, key)
    with contextlib.suppress(Failed):  # there is no older one
        await monitor.execute("object-del", id=OBJECT)
    user = {"username": _USER} if endpoint == "client" else {}
    words = {"qom-type": "tls-creds-psk", "id": OBJECT, "dir": str(directory), "endpoint": endpoint, **user}
    await monitor.execute("object-add", words)


def _written(directory: Path, key: str) -> Path:
    directory.mkdir(mode=0o700, exist_ok=True)
    with open(directory / "keys.psk", "w", opener=_private) as file:
        file.write(f"{_USER}:{key}\n")
    (directory / GROUP_FILE).write_text(GROUP)
    return directory


def _private(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_TRUNC, 0o600)

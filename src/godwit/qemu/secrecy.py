"""Encryption of the memory stream: a key of its own for each move, made by the destination, forgotten when it is over.

A pre-shared key needs no certificate that QEMU could read: who may have it is decided by the agents' mutual TLS, by
which alone it goes from one host to the other. It works with several connections too; each shakes hands when it is
opened, long before the blackout.
"""

from __future__ import annotations

import contextlib
import secrets
import shutil
from pathlib import Path
from typing import Literal

from godwit.core.errors import Failed
from godwit.qemu.monitor import Monitor

OBJECT = "migration-key"
_USER = "godwit"
_KEY_BYTES = 32
_DIRECTORIES = {"client": "key-out", "server": "key-in"}
"""A VM may go on while the move by which it came is still being settled."""


def make_key() -> str:
    """A new key, in hexadecimal."""
    return secrets.token_hex(_KEY_BYTES)


async def use_key(monitor: Monitor, run_dir: Path, key: str, *, endpoint: Literal["client", "server"]) -> None:
    """Streams that begin from now on are encrypted with that key; a server reads it from its file at each handshake."""
    directory = run_dir / _DIRECTORIES[endpoint]
    directory.mkdir(mode=0o700, exist_ok=True)
    file = directory / "keys.psk"
    file.touch(mode=0o600)
    file.write_text(f"{_USER}:{key}\n")
    await use_none(monitor)
    user = {"username": _USER} if endpoint == "client" else {}
    words = {"qom-type": "tls-creds-psk", "id": OBJECT, "dir": str(directory), "endpoint": endpoint, **user}
    try:
        await monitor.execute("object-add", words)
    except Failed as error:
        raise Failed(
            f"this QEMU cannot encrypt memory ({error.message}): install one that was built with GnuTLS, or move the "
            "VM with --plaintext",
            "no-tls",
        ) from error
    await monitor.execute("migrate-set-parameters", {"tls-creds": OBJECT, "tls-hostname": ""})


async def use_none(monitor: Monitor) -> None:
    """Streams that begin from now on are not encrypted, and QEMU knows no key."""
    await monitor.execute("migrate-set-parameters", {"tls-creds": "", "tls-hostname": ""})
    if any(each["name"] == OBJECT for each in await monitor.execute("qom-list", path="/objects")):
        await monitor.execute("object-del", id=OBJECT)


def read_key(run_dir: Path) -> str:
    """The key that a waiting QEMU was given; empty if none."""
    with contextlib.suppress(FileNotFoundError):
        return (run_dir / _DIRECTORIES["server"] / "keys.psk").read_text().strip().rpartition(":")[2]
    return ""


def forget_key(run_dir: Path, *, endpoint: Literal["client", "server"]) -> None:
    """No file holds that key any more: a server's when it has loaded, a client's at once."""
    shutil.rmtree(run_dir / _DIRECTORIES[endpoint], ignore_errors=True)

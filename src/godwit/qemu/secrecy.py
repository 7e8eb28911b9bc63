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
Endpoint = Literal["client", "server"]

GROUP_FILE = "dh-params.pem"
GROUP = """\
-----BEGIN DH PARAMETERS-----
MIIBCAKCAQEA//////////+t+FRYortKmq/cViAnPTzx2LnFg84tNpWp4TZBFGQz
+8yTnc4kmz75fS/jY2MMddj2gbICrsRhetPfHtXV/WVhJDP1H18GbtCFY2VVPe0a
87VXE15/V8k1mE8McODmi3fipona8+/och3xWKE2rec1MKzKT0g6eXq8CrGCsyT7
YdEIqUuyyOP7uWrat2DX9GgdT0Kj3jlN9K5W7edjcrsZCwenyO4KbXCeAvzhzffi
7MA0BM0oNC9hkXL+nOmFg/+OTxIy7vKBg8P+OxtMb61zO7X8vC7CIAXFjvGDfRaD
ssbzSibBsu/6iGtCOGEoXJf//////////wIBAg==
-----END DH PARAMETERS-----
"""
"""ffdhe2048 of RFC 7919, appendix A.1. Without a file of that name QEMU makes a group of its own for each server
(qcrypto_tls_creds_get_dh_params_file in crypto/tlscreds.c), which takes from a quarter of a second to some seconds."""


def make_key() -> str:
    """A new key, in hexadecimal."""
    return secrets.token_hex(_KEY_BYTES)


def place_of(run_dir: Path, endpoint: Endpoint, migration: str, attempt: int) -> Path:
    """The directory of that move's key: a VM may go on, or come again, while an earlier move is still being settled."""
    return run_dir / f"key-{endpoint}.{migration}.{attempt}"


async def use_key(monitor: Monitor, place: Path, key: str, *, endpoint: Endpoint) -> None:
    """Streams that begin from now on are encrypted with that key; a server reads it from its file at each handshake."""
    _write(place, key)
    await use_none(monitor)
    user = {"username": _USER} if endpoint == "client" else {}
    words = {"qom-type": "tls-creds-psk", "id": OBJECT, "dir": str(place), "endpoint": endpoint, **user}
    try:
        await monitor.execute("object-add", words)
    except Failed as error:
        raise Failed(
            f"this QEMU cannot encrypt memory ({error.message}): install one that was built with GnuTLS, or move the "
            "VM with --plaintext",
            "no-tls",
        ) from error
    await monitor.execute("migrate-set-parameters", {"tls-creds": OBJECT, "tls-hostname": ""})


def _write(place: Path, key: str) -> None:
    place.mkdir(mode=0o700, exist_ok=True)
    file = place / "keys.psk"
    file.touch(mode=0o600)
    file.write_text(f"{_USER}:{key}\n")
    (place / GROUP_FILE).write_text(GROUP)


async def use_none(monitor: Monitor) -> None:
    """Streams that begin from now on are not encrypted, and QEMU knows no key."""
    await monitor.execute("migrate-set-parameters", {"tls-creds": "", "tls-hostname": ""})
    if any(each["name"] == OBJECT for each in await monitor.execute("qom-list", path="/objects")):
        await monitor.execute("object-del", id=OBJECT)


def read_key(place: Path) -> str:
    """The key that lies there; empty if none."""
    with contextlib.suppress(FileNotFoundError):
        return (place / "keys.psk").read_text().strip().rpartition(":")[2]
    return ""


def forget_key(place: Path) -> None:
    """No file holds that key any more: a server's when it has loaded, a client's at once."""
    shutil.rmtree(place, ignore_errors=True)

"""A live manager that also answers over TCP, with a token for each role."""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.client.live import Live, living
from tests.manager.site import make_site

from godwit.client.place import Remote
from godwit.core.config import Listen, Role, Token
from godwit.rpc import pki

TOKENS = {role: f"gw_{role}-of-the-tests" for role in Role}


@contextmanager
def living_over_tcp(directory: Path) -> Iterator[Live]:
    """It answers on its socket, and on a port of 127.0.0.1."""
    pki.init(directory / "pki")
    tls = pki.issue(directory / "pki", "manager", addresses=["127.0.0.1"])
    site = make_site(directory)
    tokens = tuple(
        Token(name=f"{role}-er", role=role, sha256=hashlib.sha256(word.encode()).hexdigest())
        for role, word in TOKENS.items()
    )
    site.config = site.config.model_copy(update={"tokens": tokens})
    listen = Listen(address="127.0.0.1:0", certificate=tls.certificate, key=tls.key)
    with tempfile.TemporaryDirectory() as short, living(site, Path(short) / "m.sock", listen) as live:
        yield live


def remote(live: Live, directory: Path, role: Role = Role.admin, *, token: str | None = None) -> Remote:
    """Its TCP side, with the token of that role."""
    return Remote(f"https://127.0.0.1:{live.port}", token or TOKENS[role], directory / "pki" / "ca.pem")

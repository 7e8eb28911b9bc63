"""Serves the REST API: on a unix socket that only its owner may use, and over TCP with TLS."""

from __future__ import annotations

import asyncio
import errno
import os
import socket
import ssl
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import uvicorn
from starlette.types import ASGIApp
from uvicorn.protocols.http.h11_impl import H11Protocol

from godwit.api.callers import UID, peer_uid
from godwit.core.config import Listen
from godwit.core.errors import Invalid, Refused

MAX_PATH_BYTES = 107
"""Of a unix socket (unix(7))."""

GRACE_S = 3
"""How long open requests may take when the server ends."""

BACKLOG = 128


def listen(path: Path) -> socket.socket:
    """A socket there, mode 0600; one that a dead manager left is replaced, `Refused` while somebody answers there."""
    if len(bytes(path)) > MAX_PATH_BYTES:
        raise Refused(f"the socket's path {path} is longer than {MAX_PATH_BYTES} bytes: choose a shorter one", "socket")
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        if _is_answered(path):
            raise Refused(f"another manager answers at {path}: end it, or give this one a socket of its own", "socket")
        path.unlink(missing_ok=True)
        listener.bind(str(path))
        path.chmod(0o600)  # nobody can connect before `listen`
        listener.listen(BACKLOG)
    except OSError as error:
        listener.close()
        raise Refused(f"{path} cannot be made: {error.strerror}; choose another place", "socket") from error
    except Refused:
        listener.close()
        raise
    return listener


def unlink(path: Path, made: os.stat_result) -> None:
    """That name of a socket, seen when it was made, is gone, unless it is another's by now. While it is still listened
    to: no other file has its number then.
    """
    with suppress(OSError):
        if os.path.samestat(path.stat(), made):
            path.unlink()


def listen_tcp(address: str) -> socket.socket:
    """A socket at that `address:port`; `Refused` says why there is none."""
    host, _, port = address.rpartition(":")
    family = socket.AF_INET6 if host.startswith("[") else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host.strip("[]"), int(port)))
        listener.listen(BACKLOG)
    except (OSError, OverflowError) as error:
        listener.close()
        raise Refused(
            f"cannot listen on {address} ({getattr(error, 'strerror', None) or error}): `ss -ltnp sport = :{port}` "
            "names who has the port and `ip address` this host's addresses; change address under [listen]",
            "listen",
        ) from error
    return listener


def tls_context(config: Listen) -> ssl.SSLContext:
    """What the TCP side proves itself with; `Invalid` names the file that will not do."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    # A session ticket makes a client's socket readable with nothing to read: one that blocks in reading then, as the
    # console's does, cannot be closed until we send something.
    context.num_tickets = 0
    try:
        context.load_cert_chain(config.certificate, config.key)
    except (OSError, ssl.SSLError) as error:
        raise Invalid(
            f"{config.certificate} and {config.key} are no certificate and its key ({error}): make them with "
            "`godwit pki issue manager --address ADDRESS`, and name them under [listen]",
            "certificate",
        ) from error
    return context


class Server(uvicorn.Server):
    """Run it with `await serve(sockets=[...])`, end it with `should_exit`; signals are the caller's."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """None: the manager must end before its server does."""
        yield


def server(app: ASGIApp, tls: ssl.SSLContext | None = None) -> Server:
    """A server of that app: over TLS, or on a unix socket, where each request's state has the caller's user id."""
    config = uvicorn.Config(
        app,
        lifespan="off",
        log_config=None,
        access_log=False,
        http=H11Protocol if tls else _LocalProtocol,
        ws="websockets-sansio",
        timeout_graceful_shutdown=GRACE_S,
        ssl_context_factory=(lambda *_: tls) if tls else None,
    )
    return Server(config)


class _LocalProtocol(H11Protocol):
    """Asks the kernel who is at the other end."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        self.app_state = self.app_state | {UID: peer_uid(transport.get_extra_info("socket"))}
        super().connection_made(transport)


def _is_answered(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as caller:
        code = caller.connect_ex(str(path))
    return code not in {errno.ENOENT, errno.ECONNREFUSED, errno.ENOTSOCK}

"""Serves the REST API on a unix socket that only its owner may use."""

from __future__ import annotations

import errno
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import uvicorn
from fastapi import FastAPI

from godwit.core.errors import Refused

MAX_PATH_BYTES = 107
"""Of a unix socket (unix(7))."""

GRACE_S = 3
"""How long open requests may take when the server ends."""


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
        listener.listen(128)
    except OSError as error:
        listener.close()
        raise Refused(f"{path} cannot be made: {error.strerror}; choose another place", "socket") from error
    except Refused:
        listener.close()
        raise
    return listener


class Server(uvicorn.Server):
    """Run it with `await serve(sockets=[...])`, end it with `should_exit`; signals are the caller's."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """None: the manager must end before its server does."""
        yield


def server(app: FastAPI) -> Server:
    """A server of that app."""
    config = uvicorn.Config(
        app,
        lifespan="off",
        log_config=None,
        access_log=False,
        ws="websockets-sansio",
        timeout_graceful_shutdown=GRACE_S,
    )
    return Server(config)


def _is_answered(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as caller:
        code = caller.connect_ex(str(path))
    return code not in {errno.ENOENT, errno.ECONNREFUSED, errno.ENOTSOCK}

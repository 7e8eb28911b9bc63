"""Who is calling: known by the user id at the socket's other end, or by a token."""

from __future__ import annotations

import hashlib
import hmac
import socket
import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from starlette.datastructures import Headers
from starlette.types import Scope

from godwit.core.config import Role, Token
from godwit.core.errors import Refused

UID = "godwit.uid"
"""Where the connection's user id stands in a request's state."""
UNKNOWN = "unknown"

_CREDENTIALS = struct.Struct("3i")
"""pid, uid and gid of SO_PEERCRED (unix(7))."""


@dataclass(frozen=True)
class Caller:
    """Somebody, and what they may do."""

    name: str
    role: Role


Who = Callable[[Scope], Caller]
"""Names the caller of a request; `Refused` with what a person must do when there is no telling."""


def peer_uid(connection: socket.socket) -> int:
    """The user id of the process that connected to this unix socket."""
    return int(_CREDENTIALS.unpack(connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size))[1])


def by_uid(scope: Scope) -> Caller:
    """On the socket: its file's mode lets in only those who may do everything."""
    return Caller(f"uid {scope['state'][UID]}", Role.admin)


def by_token(tokens: Sequence[Token]) -> Who:
    """Over TCP: whoever has one of these tokens."""

    def who(scope: Scope) -> Caller:
        scheme, _, word = Headers(scope=scope).get("authorization", "").partition(" ")
        if scheme.lower() != "bearer" or not word:
            raise Refused("a token is needed here: set GODWIT_TOKEN, or send `Authorization: Bearer TOKEN`", "no-token")
        digest = hashlib.sha256(word.strip().encode()).hexdigest()
        known = [each for each in tokens if hmac.compare_digest(each.sha256, digest)]
        if not known:
            raise Refused(
                "the manager does not know this token: print a new one with `godwit pki token` and put its lines into "
                "the manager's configuration",
                "unknown-token",
            )
        return Caller(known[0].name, known[0].role)

    return who

"""How a route gets at what serves it, and which role each request needs."""

from __future__ import annotations

import re
from typing import Annotated

from fastapi import Depends
from fastapi.requests import HTTPConnection

from godwit.core.config import Role
from godwit.manager.manager import Manager

OPEN = frozenset({"/openapi.json", "/docs", "/docs/oauth2-redirect", "/redoc"})
"""What anybody may read: it says nothing of this site."""

_SAFE = frozenset({"GET", "HEAD"})
_OPERATE = re.compile(r"/vms/[^/]+/(start|stop|console|rehearsals)|/hosts/[^/]+/(drain|activate)|/migrations(/[^/]+)?")
_ADMIN_TO_READ = frozenset({"/audit"})


def is_safe(method: str) -> bool:
    """A request that changes nothing."""
    return method in _SAFE


def needed_role(method: str, path: str) -> Role | None:
    """The least role that may make this request; none: everybody may. What is not listed here needs `admin`.

    The console's websocket counts as a method of its own name.
    """
    if path in OPEN and is_safe(method):
        return None
    if is_safe(method) and path not in _ADMIN_TO_READ:
        return Role.read
    return Role.operate if _OPERATE.fullmatch(path) else Role.admin


async def _manager(connection: HTTPConnection) -> Manager:
    manager = connection.app.state.manager
    assert isinstance(manager, Manager)
    return manager


TheManager = Annotated[Manager, Depends(_manager)]

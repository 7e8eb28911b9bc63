"""How a route gets at what serves it."""

from __future__ import annotations

from typing import Annotated

from fastapi import Depends
from fastapi.requests import HTTPConnection

from godwit.manager.manager import Manager


async def _manager(connection: HTTPConnection) -> Manager:
    manager = connection.app.state.manager
    assert isinstance(manager, Manager)
    return manager


TheManager = Annotated[Manager, Depends(_manager)]

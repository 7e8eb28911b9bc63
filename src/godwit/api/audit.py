"""Who asked for what: one line of JSON for each request that changes something, and GET /audit."""

from __future__ import annotations

import asyncio
import json
import logging
import os
from collections import deque
from pathlib import Path
from typing import Annotated, Any

from fastapi import APIRouter, Query
from fastapi.requests import HTTPConnection
from pydantic import ValidationError

from godwit.core.resources import AuditEntry

LOG = logging.getLogger(__name__)

REQUEST_BYTES_MAX = 16 * 1024
"""A longer request is left out of the log; who asked for what remains."""

router = APIRouter(tags=["audit"])


class AuditLog:
    """A file that is opened for each line, so that it can be rotated by renaming it."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def write(self, entry: AuditEntry) -> None:
        """The entry is in the file; a disk that takes no more is told in the log, and stops nobody."""
        line = entry.model_dump_json().encode() + b"\n"
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            file = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
            try:
                os.write(file, line)
            finally:
                os.close(file)
        except OSError as error:
            LOG.error("the audit log %s cannot be written (%s): %s", self._path, error.strerror, line.decode().strip())

    def last(self, number: int) -> list[AuditEntry]:
        """The newest of them, oldest first; lines that are no entries are passed over."""
        try:
            with self._path.open(encoding="utf-8", errors="replace") as file:
                lines = deque(file, maxlen=number)
        except FileNotFoundError:
            return []
        return [entry for line in lines if (entry := _parse(line))]


def shortened(body: bytes) -> Any:
    """The request's body as JSON, if it is that and not too long."""
    if not body or len(body) > REQUEST_BYTES_MAX:
        return None
    try:
        return json.loads(body)
    except ValueError:
        return None


@router.get("/audit")
async def show_audit(
    connection: HTTPConnection, limit: Annotated[int, Query(ge=1, le=10_000)] = 100
) -> list[AuditEntry]:
    """The newest `limit` requests that changed something, or tried to; oldest first."""
    log: AuditLog | None = connection.app.state.audit
    return await asyncio.to_thread(log.last, limit) if log else []


def _parse(line: str) -> AuditEntry | None:
    try:
        return AuditEntry.model_validate_json(line)
    except ValidationError:
        return None

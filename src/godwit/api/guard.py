"""The door of the API: nobody comes in unknown or beyond their role, and whoever changes something is written down."""

from __future__ import annotations

import json
import logging
from dataclasses import dataclass
from datetime import UTC, datetime

from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from starlette.websockets import WebSocket

from godwit.api.access import is_safe, needed_role
from godwit.api.audit import AuditLog, shortened
from godwit.api.callers import UNKNOWN, Caller, Who
from godwit.api.exchange import Overheard, read_body, replayed
from godwit.api.problems import answer
from godwit.core.errors import Refused
from godwit.core.resources import AuditEntry

LOG = logging.getLogger(__name__)

CALLER = "godwit.caller"
"""Where the caller's name stands in a request's scope."""
SWITCHED = 101
"""The status that an opened websocket has in the audit log."""


@dataclass(frozen=True)
class _Admission:
    caller: Caller | None
    denial: Response | None = None

    @property
    def name(self) -> str:
        return self.caller.name if self.caller else UNKNOWN


class Guard:
    """An ASGI app in front of another one."""

    def __init__(self, app: ASGIApp, *, who: Who, audit: AuditLog) -> None:
        self._app = app
        self._who = who
        self._audit = audit

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Lets the request in, or answers it."""
        method = scope.get("method", "WEBSOCKET")
        admission = self._admit(scope, method)
        scope = {**scope, CALLER: admission.name}
        if is_safe(method):
            await (admission.denial or self._app)(scope, receive, send)
            return
        entry = AuditEntry(
            at=datetime.now(UTC),
            caller=admission.name,
            role=admission.caller.role if admission.caller else None,
            method=method,
            path=scope["path"],
        )
        if scope["type"] == "websocket":
            await self._open(scope, receive, send, told=(entry, admission.denial))
        else:
            await self._change(scope, receive, send, told=(entry, admission.denial))

    def _admit(self, scope: Scope, method: str) -> _Admission:
        needed = needed_role(method, scope["path"])
        if needed is None:
            return _Admission(None)
        try:
            caller = self._who(scope)
        except Refused as error:
            LOG.warning("nobody known: %s %s from %s: %s", method, scope["path"], scope.get("client"), error.code)
            denial = answer(error, status=401)
            denial.headers["WWW-Authenticate"] = "Bearer"
            return _Admission(None, denial)
        if caller.role.includes(needed):
            return _Admission(caller)
        LOG.warning("beyond its role: %s %s by %s, who may %s", method, scope["path"], caller.name, caller.role)
        message = (
            f"{caller.name} may {caller.role}, and {method} {scope['path']} needs {needed}: use a token of that role"
        )
        return _Admission(caller, answer(Refused(message, "role"), status=403))

    async def _change(
        self, scope: Scope, receive: Receive, send: Send, *, told: tuple[AuditEntry, Response | None]
    ) -> None:
        """Answered, and written down before the answer's last part is sent; also when there is no answer."""
        entry, denial = told
        body, heard = b"", Overheard()

        async def record(message: Message) -> None:
            nonlocal entry
            if heard.hear(message):
                self._audit.write(_with_outcome(entry, body, heard))
                entry = entry.model_copy(update={"status": heard.status})
            await send(message)

        if denial is None:
            try:
                body = await read_body(receive)
            except Refused as error:
                denial = answer(error, status=413)
        try:
            await (denial or self._app)(scope, replayed(body, receive), record)
        finally:
            if entry.status is None:
                self._audit.write(_with_outcome(entry, body, heard))

    async def _open(
        self, scope: Scope, receive: Receive, send: Send, *, told: tuple[AuditEntry, Response | None]
    ) -> None:
        entry, denial = told

        async def record(message: Message) -> None:
            status = {"websocket.accept": SWITCHED, "websocket.close": 403}.get(message["type"])
            status = message["status"] if message["type"] == "websocket.http.response.start" else status
            nonlocal entry
            if status and entry.status is None:
                entry = entry.model_copy(update={"status": status})
                self._audit.write(entry)
            await send(message)

        if denial is None:
            await self._app(scope, receive, record)
        else:
            await WebSocket(scope, receive, record).send_denial_response(denial)


def _with_outcome(entry: AuditEntry, body: bytes, heard: Overheard) -> AuditEntry:
    try:
        words = json.loads(heard.body)
    except ValueError:
        words = None
    words = words if isinstance(words, dict) else {}
    about = words.get("id") or words.get("name")
    return entry.model_copy(
        update={
            "status": heard.status,
            "request": shortened(body),
            "code": words.get("code"),
            "about": str(about) if about else None,
        }
    )

"""`Idempotency-Key`: a request sent again, because its answer was lost, is answered as it was and not done twice."""

from __future__ import annotations

import hashlib
import json
import re
from contextlib import suppress
from datetime import UTC, datetime, timedelta

from starlette.datastructures import Headers
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from godwit.api.exchange import Overheard, read_body, replayed
from godwit.api.guard import CALLER
from godwit.api.problems import MEDIA_TYPE, answer
from godwit.contract.store import Answer, Store
from godwit.core.errors import GodwitError, Invalid, Refused

HEADER = "Idempotency-Key"
KEPT = timedelta(days=1)
PATHS = frozenset({"/migrations", "/vms"})
"""Where a POST makes something new."""

_KEY = re.compile(r"[!-~]{1,200}")


class Once:
    """An ASGI app in front of another one; works behind a Guard, which names the caller."""

    def __init__(self, app: ASGIApp, store: Store) -> None:
        self._app = app
        self._store = store
        self._under_way: set[str] = set()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Does it, or answers what was answered before."""
        key = _key(scope)
        if key is None:
            await self._app(scope, receive, send)
            return
        body = await read_body(receive)
        try:
            full = f"{scope.get(CALLER, '')} {scope['path']} {_valid(key)}"
            if full in self._under_way:
                raise Refused(f"a request with {HEADER} {key} is under way: ask again when it is answered", "busy")
            self._under_way.add(full)
        except GodwitError as error:
            await answer(error)(scope, receive, send)
            return
        try:
            known = await self._begun(full, body)
            await (known or self._doing(full, body))(scope, replayed(body, receive), send)
        except GodwitError as error:
            await answer(error)(scope, receive, send)
        finally:
            self._under_way.discard(full)

    async def _begun(self, key: str, body: bytes) -> Response | None:
        """What was answered before; nothing was, and now it is known that this one was begun: none."""
        fingerprint = _fingerprint(body)
        kept = await self._store.answer(key)
        if kept and kept.at < datetime.now(UTC) - KEPT:
            kept = None
        if kept is None:
            await self._keep(Answer(key=key, fingerprint=fingerprint, at=datetime.now(UTC)))
            return None
        if kept.fingerprint != fingerprint:
            raise Invalid(
                f"{HEADER} was used for another request within the last day: use a new key for a new request",
                "key-reused",
            )
        if kept.status is None:
            raise Refused(
                f"the manager ended while it did what was asked with this {HEADER}: look at `godwit migration list` "
                "and `godwit vm list`, and ask with a new key if it was not done",
                "key-unfinished",
            )
        media_type = "application/json" if kept.status < 400 else MEDIA_TYPE
        return Response(kept.body, kept.status, {"Idempotency-Replayed": "true"}, media_type)

    def _doing(self, key: str, body: bytes) -> ASGIApp:
        """The app behind us, its answer kept, unless it touched nothing (4xx): then the key can be used again."""
        heard = Overheard()

        async def keep(status: int) -> None:
            if 400 <= status < 500:
                await self._store.drop_answer(key)
                return
            done = Answer(
                key=key, fingerprint=_fingerprint(body), status=status, body=heard.body.decode(), at=datetime.now(UTC)
            )
            await self._keep(done)

        async def do(scope: Scope, receive: Receive, send: Send) -> None:
            async def listening(message: Message) -> None:
                if heard.hear(message) and heard.status is not None:
                    await keep(heard.status)
                await send(message)

            await self._app(scope, receive, listening)

        return do

    async def _keep(self, kept: Answer) -> None:
        await self._store.keep_answer(kept, forget_before=datetime.now(UTC) - KEPT)


def _key(scope: Scope) -> str | None:
    if scope["type"] != "http" or scope["method"] != "POST" or scope["path"] not in PATHS:
        return None
    return Headers(scope=scope).get(HEADER)


def _valid(key: str) -> str:
    if not _KEY.fullmatch(key):
        raise Invalid(f"{HEADER} must be 1 to 200 printable characters without spaces, such as a UUID", "key")
    return key


def _fingerprint(body: bytes) -> str:
    """The same for the same JSON, however it is written."""
    with suppress(ValueError):
        body = json.dumps(json.loads(body), sort_keys=True).encode()
    return hashlib.sha256(body).hexdigest()

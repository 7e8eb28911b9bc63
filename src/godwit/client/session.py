"""One manager spoken to over HTTP: core's models out, core's errors raised."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from types import TracebackType
from typing import Any, Self, TypeVar
from urllib.parse import quote as _quote

from pydantic import BaseModel, TypeAdapter, ValidationError

from godwit.client.lean import httpx
from godwit.client.place import Place, http_client, unreachable
from godwit.core.errors import Failed, GodwitError, Unreachable, from_kind

T = TypeVar("T")

quote = partial(_quote, safe="")

ANSWER_S = 180.0
"""How long an order may take: starting a VM may rightly take a host two minutes."""


class Session:
    """One manager, spoken to over its unix socket (a path), or over TCP (a `Remote`)."""

    def __init__(
        self, place: Place, *, pause: Callable[[float], None] = time.sleep, timeout_s: float = ANSWER_S
    ) -> None:
        self._place = place
        self._pause = pause
        self._answer_s = timeout_s
        self._http = http_client(place, timeout_s=timeout_s)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Nothing is held any more."""
        self._http.close()

    def _ask(
        self,
        method: str,
        path: str,
        kind: type[T],
        *,
        body: BaseModel | None = None,
        key: str | None = None,
        timeout_s: float | None = None,
    ) -> T:
        answer = self._send(method, path, body, key, timeout_s=timeout_s)
        try:
            return TypeAdapter(kind).validate_json(answer.content)
        except ValidationError as error:
            raise Failed(
                f"the answer of the manager at {self._place} to {method} {path} cannot be understood: "
                "install the same version of godwit here and there",
                "answer",
            ) from error

    def _send(
        self,
        method: str,
        path: str,
        body: BaseModel | None = None,
        key: str | None = None,
        *,
        timeout_s: float | None = None,
    ) -> httpx.Response:
        words: dict[str, Any] = {"timeout": timeout_s or self._answer_s}
        if body is not None:
            headers = {"Content-Type": "application/json"} | ({"Idempotency-Key": key} if key else {})
            words |= {"content": body.model_dump_json(), "headers": headers}
        try:
            response = self._http.request(method, path, **words)
        except httpx.ConnectError as error:
            raise self._unreachable(error) from error
        except httpx.TransportError as error:
            raise Unreachable(
                f"the manager at {self._place} broke off before it answered ({error or type(error).__name__}): look "
                "at what it did with `godwit vm list` and `godwit migration list`, then ask again"
            ) from error
        if response.is_error:
            raise error_in(response)
        return response

    def _unreachable(self, error: Exception) -> Unreachable:
        return unreachable(self._place, str(error))


def error_in(response: httpx.Response) -> GodwitError:
    """The error that the manager raised."""
    from godwit.core.resources import Problem

    try:
        problem = Problem.model_validate_json(response.content)
    except ValidationError:
        return Failed(f"the manager answered {response.status_code} with something that is no problem: is it godwit's?")
    return from_kind(problem.kind, problem.detail, problem.code)

"""A host's verbs with an ear at them: each order's log lines name its migration, and its answer is told."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractContextManager, aclosing
from inspect import iscoroutinefunction
from typing import Any, TypeVar, cast

import structlog
from pydantic import BaseModel

T = TypeVar("T")

Answered = Callable[[BaseModel, BaseModel], None]


def observed(host: T, answered: Answered) -> T:
    """The same verbs; each order's answer is told, and all that is logged meanwhile carries its migration and VM."""
    return cast(T, _Observed(host, answered))


class _Observed:
    def __init__(self, host: object, answered: Answered) -> None:
        self._host = host
        self._answered = answered

    def __getattr__(self, name: str) -> Any:
        verb = getattr(self._host, name)
        if iscoroutinefunction(verb):
            return lambda request: self._order(verb, request)
        return lambda request: self._stream(verb, request)

    async def _order(self, verb: Any, request: Any) -> Any:
        with named(request):
            answer = await verb(request)
        self._answered(request, answer)
        return answer

    async def _stream(self, verb: Any, request: Any) -> AsyncIterator[Any]:
        with named(request):
            async with aclosing(verb(request)) as messages:
                async for message in messages:
                    yield message


def named(request: object) -> AbstractContextManager[Any]:
    """What is logged inside carries the request's migration and VM, if it names them."""
    order = getattr(request, "order", request)  # `Meet` carries one, an order has a method of that name
    order = request if callable(order) else order
    words = {key: value for key in ("migration", "vm") if isinstance(value := getattr(order, key, None), str)}
    return structlog.contextvars.bound_contextvars(**words)

"""An authority, certificates and a small contract for the tests of the wire."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Protocol

import pytest

from godwit.core.config import Tls
from godwit.core.errors import Failed, GodwitError, NotFound, Unresolved
from godwit.core.model import Value
from godwit.rpc import pki


class Text(Value):
    text: str


class Number(Value):
    number: int


class Echo(Protocol):
    """One verb of each shape."""

    async def repeat(self, request: Text, /) -> Text: ...

    def count(self, request: Number, /) -> AsyncIterator[Number]: ...

    async def join(self, request: AsyncIterator[Text], /) -> Text: ...

    def shout(self, request: AsyncIterator[Text], /) -> AsyncIterator[Text]: ...


ERRORS: dict[str, GodwitError] = {
    "!gone": NotFound("no VM *größer* ✈ here"),
    "!doubt": Unresolved("both may own it", "two-owners"),
    "!long": Failed("ü" * 100_000),
}


class Echoer:
    """Echo, and a memory of what became of its calls."""

    def __init__(self) -> None:
        self.closed: list[str] = []
        self.entered = asyncio.Event()
        self.proceed = asyncio.Event()
        self.finished = asyncio.Event()

    async def repeat(self, request: Text, /) -> Text:
        if request.text in ERRORS:
            raise ERRORS[request.text]
        if request.text == "!bug":
            raise ZeroDivisionError("secret detail")
        if request.text == "!wait":
            self.entered.set()
            await self.proceed.wait()
            self.finished.set()
        return request

    async def count(self, request: Number, /) -> AsyncIterator[Number]:
        """Up to the number, or without end if it is negative."""
        try:
            number = 0
            while number != request.number:
                yield Number(number=number)
                number += 1
                if request.number < 0:
                    await asyncio.sleep(0.01)
        finally:
            self.closed.append("count")
            self.finished.set()

    async def join(self, request: AsyncIterator[Text], /) -> Text:
        return Text(text="".join([each.text async for each in request]))

    async def shout(self, request: AsyncIterator[Text], /) -> AsyncIterator[Text]:
        try:
            async for each in request:
                if each.text in ERRORS:
                    raise ERRORS[each.text]
                yield Text(text=each.text.upper())
        finally:
            self.closed.append("shout")


Issue = Callable[[pki.Role, str], Tls]


@pytest.fixture(scope="session")
def issue(tmp_path_factory: pytest.TempPathFactory) -> Issue:
    directory: Path = tmp_path_factory.mktemp("pki")
    pki.init(directory)
    return lambda role, name: pki.issue(directory, role, name=name)


@pytest.fixture(scope="session")
def manager_tls(issue: Issue) -> Tls:
    return issue("manager", "manager")


@pytest.fixture(scope="session")
def host_a_tls(issue: Issue) -> Tls:
    return issue("agent", "host-a")


@pytest.fixture(scope="session")
def host_b_tls(issue: Issue) -> Tls:
    return issue("agent", "host-b")

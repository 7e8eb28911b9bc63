"""How phases begin and migrations end: deadlines, undo, and the last word in the diary."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any, TypeVar, cast

from godwit.contract.diary import Diary
from godwit.core.errors import Broken, Cancelled, Failed, GodwitError, TimedOut, Unresolved, may_be_repeated
from godwit.core.migration import Event, EventKind
from godwit.core.phase import DEADLINES_S, Phase

T = TypeVar("T")
U = TypeVar("U")

ASK_AGAIN_S = 1.0


@asynccontextmanager
async def phase(entered: Phase, diary: Diary, *, limit_s: float | None = None) -> AsyncIterator[None]:
    """The diary says that phase, unless it does already, and the body has its time."""
    if diary.phase != entered:
        await diary.enter(entered)
    async with deadline(entered, limit_s=limit_s):
        yield


@asynccontextmanager
async def deadline(of: Phase, *, limit_s: float | None = None) -> AsyncIterator[None]:
    """The body has that time, else the phase's usual one; then `TimedOut`."""
    limit_s = limit_s or DEADLINES_S[of]
    try:
        async with asyncio.timeout(limit_s):
            yield
    except TimeoutError:
        raise TimedOut(f"{of} took longer than {limit_s:.0f} s: see the events of this migration") from None


@asynccontextmanager
async def undone_by(
    undo: Callable[[], Awaitable[Any]], diary: Diary, *, in_doubt_without: str | None = None
) -> AsyncIterator[None]:
    """If the body fails, `undo` runs to its end, even when cancelled; not if the outcome is in doubt.

    An undo that fails is told in the diary and does not hide why it was needed; one that finds the VM given away
    raises `Unresolved`. So does one without which nothing is known, which `in_doubt_without` says: the undos of what
    came before must not end a copy that may be the last.
    """
    try:
        yield
    except Unresolved:
        raise
    except BaseException:
        await uninterrupted(_undo(undo, diary, in_doubt_without))
        raise


async def _undo(undo: Callable[[], Awaitable[Any]], diary: Diary, in_doubt_without: str | None) -> None:
    if diary.phase != Phase.undoing:
        await diary.enter(Phase.undoing)
    try:
        async with asyncio.timeout(DEADLINES_S[Phase.undoing]):
            await persist(undo)
    except Unresolved:
        raise
    except (GodwitError, TimeoutError) as error:
        if in_doubt_without:
            raise Unresolved(
                f"{in_doubt_without} ({str(error) or 'no answer in time'}): nothing is ended meanwhile"
            ) from error
        await warn(
            diary,
            f"undoing was not complete: {str(error) or 'it took too long'}; see `godwit host list` for what is left",
        )


async def persist(order: Callable[[], Awaitable[T]]) -> T:
    """An agent that is being restarted, or too busy to answer, is asked again: orders may be repeated."""
    while True:
        try:
            return await order()
        except Failed as error:
            if not may_be_repeated(error):
                raise
            await asyncio.sleep(ASK_AGAIN_S)


async def together(*works: Awaitable[Any]) -> list[Any]:
    """All have ended, side by side: what they came to, or the first error, if there was one, is raised."""
    outcomes = await asyncio.gather(*works, return_exceptions=True)
    for outcome in outcomes:
        if isinstance(outcome, BaseException):
            raise outcome
    return outcomes


async def both(first: Awaitable[T], second: Awaitable[U]) -> tuple[T, U]:
    """As `together`, of two that come to something."""
    return cast("tuple[T, U]", tuple(await together(first, second)))


async def asked(question: Callable[[], Awaitable[T]], diary: Diary) -> T:
    """As `persist`, and each time the diary tells of it."""
    while True:
        try:
            return await question()
        except Failed as error:
            if not may_be_repeated(error):
                raise
            await warn(diary, f"asking again: {error}")
            await asyncio.sleep(ASK_AGAIN_S)


async def warn(diary: Diary, text: str) -> None:
    """The feed tells a warning."""
    await diary.record(Event(at=datetime.now(UTC), kind=EventKind.warned, text=text))


@asynccontextmanager
async def ended(diary: Diary) -> AsyncIterator[None]:
    """Whatever happens in the body, the diary's last phase says how the migration ended."""
    try:
        yield
    except asyncio.CancelledError:
        await uninterrupted(_end(diary, Cancelled("cancelled; the VM runs where it was")))
        raise
    except GodwitError as error:
        await _end(diary, error)
    except Exception as error:
        await _end(diary, Broken(f"a bug stopped the migration: {type(error).__name__}: {error}; please report it"))
    else:
        await diary.enter(Phase.done)


async def _end(diary: Diary, error: GodwitError) -> None:
    if isinstance(error, Unresolved) or diary.phase in {Phase.handing_over, Phase.settling}:
        final = Phase.in_doubt
    else:
        final = Phase.cancelled if isinstance(error, Cancelled) else Phase.failed
    await diary.enter(final, error=error)


async def uninterrupted(work: Coroutine[Any, Any, T]) -> T:
    """The result of `work`, which runs to its end; cancelling us meanwhile changes nothing."""
    task = asyncio.ensure_future(work)
    while not task.done():
        try:
            await asyncio.shield(task)
        except asyncio.CancelledError:
            if task.done():
                break
            if current := asyncio.current_task():
                current.uncancel()
        except Exception:
            break
    return task.result()

"""An event loop whose time jumps: when all tasks wait, the next timer is due at once."""

from __future__ import annotations

import asyncio
import selectors
from collections.abc import Coroutine
from typing import Any, TypeVar

T = TypeVar("T")


class _NeverWaits(selectors.DefaultSelector):
    """A selector that tells the loop to move its clock instead of waiting."""

    skipped_s = 0.0

    def select(self, timeout: float | None = None) -> Any:
        ready = super().select(0)
        if not ready and timeout is None:
            raise RuntimeError("every task waits for something that nobody will do")
        if not ready and timeout:
            self.skipped_s += timeout
        return ready


class JumpingLoop(asyncio.SelectorEventLoop):
    """Time passes only while everybody waits for it, and then at once. For code that waits for no other process."""

    def __init__(self) -> None:
        self._jumper = _NeverWaits()
        super().__init__(self._jumper)

    def time(self) -> float:
        """Seconds, with the jumps."""
        return super().time() + self._jumper.skipped_s


def run(work: Coroutine[Any, Any, T]) -> T:
    """The result of `work` on a jumping loop."""
    with asyncio.Runner(loop_factory=JumpingLoop) as runner:
        return runner.run(work)

"""What tests of VMs on their way, and at home, listen to instead of QEMU."""

from __future__ import annotations

import asyncio
from typing import Any, Self


class QuietMonitor:
    """Nobody listens to it in vain: it says nothing."""

    def __init__(self) -> None:
        self.closed: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def listening(self) -> Self:
        return self

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Any:
        await self.closed

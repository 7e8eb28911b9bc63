"""What went through a VM's taps around its switch-over: recorded by the kernel, looked at when all is done."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import chain, islice

from godwit.contract.host import Order
from godwit.contract.observed import Observe, Observed
from godwit.core.errors import Failed
from godwit.diagnosis.capture import Packet
from godwit.diagnosis.flows import Flows
from godwit.diagnosis.sight import sight_of
from godwit.network.headers import CLOSED_AFTER_MS, Headers

log = logging.getLogger("godwit.agent")

BEFORE_MS, AFTER_MS = 2000.0, 5000.0
"""Before STOP, after RESUME."""
KEPT_MS = 4000.0
"""As long as the VM has not stopped, older headers make room."""
LOOK_S = 0.25
"""Up to 190,000 frames a second of one card cannot fill the ring meanwhile."""
AT_ONCE, PAUSE_S = 100, 0.002
"""So many headers are read in a go (about a millisecond), so that nothing else in the agent waits."""
TOLD_MAX = 2000
FORGOTTEN_S = 60.0
"""Nobody asked for so long: the memory is free again."""


@dataclass(frozen=True)
class Window:
    """Which headers count, in Unix time of this host; `offset_ms` makes it the destination's.

    Earlier ones tell what is being waited for when it begins.
    """

    start_ms: float
    end_ms: float
    offset_ms: float = 0.0
    is_last: bool = False
    """Nobody follows on: whoever waits at its end, waits still."""


class Observer:
    """One side of one migration. `window` tells which headers count as soon as that is known."""

    def __init__(self, taps: Sequence[str], window: Callable[[], Window | None]) -> None:
        """The taps are watched within some milliseconds, which the kernel needs; one that cannot be is missing from the
        report, and nothing else.
        """
        self._window = window
        self._opening = asyncio.get_running_loop().run_in_executor(None, _opened, taps)
        self._headers: list[Headers] = []
        self._told: Observed | None = None
        self._asked = asyncio.Lock()
        self._keeping = asyncio.create_task(self._keep(), name="keep headers")

    async def tell(self, request: Observe) -> Observed:
        """What was seen, once it is over; the first answer is kept."""
        async with self._asked:
            if self._told is None:
                await self._begun()
                window = self._window()
                if not self._headers or window is None:
                    return Observed()
                if time.time() * 1000 < window.end_ms + 2 * CLOSED_AFTER_MS:
                    return Observed(is_over=False)
                self._told = await self._followed(request, window)
                self.close()
            return self._told

    def close(self) -> None:
        """Nothing is watched any more; closing twice is harmless."""
        self._keeping.cancel()
        if self._opening.done():
            _close(self._opening)
        else:
            self._opening.add_done_callback(_close)
        self._headers = []

    async def _begun(self) -> None:
        self._headers = self._headers or await asyncio.shield(self._opening)

    async def _keep(self) -> None:
        """Until the window is known, the last headers; then all, but not for ever."""
        await self._begun()
        while (window := self._window()) is None:
            now_ms = time.time() * 1000
            for each in self._headers:
                each.forget_before(now_ms - KEPT_MS)
            await asyncio.sleep(LOOK_S)
        await asyncio.sleep(max(0.0, window.end_ms / 1000 - time.time()) + FORGOTTEN_S)
        async with self._asked:
            self._told = self._told or Observed()
            self.close()

    async def _followed(self, request: Observe, window: Window) -> Observed:
        flows = Flows(request.connections, request.datagrams)
        packets = chain.from_iterable(each.take() for each in self._headers)
        is_early = False
        while some := list(islice(packets, AT_ONCE)):
            for packet in some:
                if is_early and packet.at_ms >= window.start_ms:
                    flows.count_from(window.start_ms + window.offset_ms)
                is_early = packet.at_ms < window.start_ms
                if packet.at_ms <= window.end_ms:
                    _follow(flows, packet, window.offset_ms)
            await asyncio.sleep(PAUSE_S)
        if is_early:
            flows.count_from(window.start_ms + window.offset_ms)
        if window.is_last:
            flows.close(window.end_ms + window.offset_ms)
        for each in self._headers:
            each.close()
        return Observed(
            is_complete=not flows.forgotten and not any(_lacks(each, window) for each in self._headers),
            connections=tuple(flows.connections.values())[-TOLD_MAX:],
            datagrams=tuple(flows.datagrams.values())[-TOLD_MAX:],
        )


def _lacks(headers: Headers, window: Window) -> bool:
    return bool(headers.missed) or headers.forgotten_ms > window.start_ms


def _close(opening: asyncio.Future[list[Headers]]) -> None:
    for each in opening.result():
        each.close()


def _opened(taps: Sequence[str]) -> list[Headers]:
    opened: list[Headers] = []
    try:
        for tap in taps:
            opened.append(Headers(tap))
    except Failed as error:
        log.warning("connections are not observed: %s", error)
        for each in opened:
            each.close()
        return []
    return opened


def _follow(flows: Flows, packet: Packet, offset_ms: float) -> None:
    """What comes out of the tap is the VM's; what goes into it is for the VM."""
    seen = sight_of(packet)
    if seen is not None:
        flows.follow(seen._replace(at_ms=seen.at_ms + offset_ms), is_from_vm=not packet.is_outgoing)


class Observers:
    """Those of the last migrations of this host, by migration."""

    MOST_TAPS = 8
    """Together they hold at most 64 MiB."""

    def __init__(self, *, is_on: bool) -> None:
        self._is_on = is_on
        self._known: dict[str, Observer] = {}
        self._taps: dict[str, int] = {}

    def watch(self, order: Order, taps: Sequence[str], window: Callable[[], Window | None]) -> None:
        """What passes these taps, the first eight at most, is recorded for that migration; asked again, it goes on.

        The oldest records make room.
        """
        if not self._is_on or order.migration in self._known:
            return
        taps = taps[: self.MOST_TAPS]
        while sum(self._taps.values()) + len(taps) > self.MOST_TAPS:
            self.drop(next(iter(self._known)))
        self._known[order.migration] = Observer(taps, window)
        self._taps[order.migration] = len(taps)

    async def tell(self, request: Observe) -> Observed:
        """What was seen of that migration; nothing where nobody watched."""
        observer = self._known.get(request.migration)
        return await observer.tell(request) if observer else Observed()

    def drop(self, migration: str) -> None:
        """Nothing is recorded for it any more."""
        self._taps.pop(migration, None)
        if observer := self._known.pop(migration, None):
            observer.close()

    def close(self) -> None:
        """Nothing is recorded any more."""
        for migration in list(self._known):
            self.drop(migration)

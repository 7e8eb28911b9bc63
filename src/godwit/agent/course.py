"""A hand-over on this host: whatever is seen, asked or answered becomes a cue, the table says the acts, one at a time.

Events, timers and restarts end in the same question: look at QEMU, and let core/ownership.py say what that means.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from godwit.agent.local import LocalVm
from godwit.contract.host import Order
from godwit.core.errors import Failed, GodwitError, Unreachable
from godwit.core.ownership import Act, Cue, Ownership, Sight, Stream, look
from godwit.qemu import memory
from godwit.qemu.evidence import History
from godwit.qemu.keeper import EXITED
from godwit.qemu.monitor import QmpEvent

log = logging.getLogger("godwit.agent")

STREAMS = {"none": Stream.none, "completed": Stream.completed, "failed": Stream.failed, "cancelled": Stream.failed}
"""QEMU's words for a stream that does not move; by all others it does."""
LOADED = Sight(alive=True, stream=Stream.completed)
"""What `completed` says: all is sent or here, and nothing runs but by `cont`."""
RESUMED = Sight(alive=True, runs=True, resumed=True)
"""What RESUME says, after `cont`."""


@dataclass(frozen=True)
class Side:
    """What is different between a source and a destination."""

    name: str
    acts: Mapping[Act, Callable[[], Awaitable[None]]]
    ends: frozenset[Ownership]
    """In these states QEMU has nothing more to say that matters to the hand-over."""
    changed: Callable[[], None]
    """The journal says something else."""
    is_waiting: Callable[[], bool]
    """It ought to do something, and is looked at again by the clock."""
    heed: Callable[[QmpEvent], None]
    """Notes what happens, for the report."""
    recall: Callable[[History], None]
    """Notes what happened before anybody listened."""
    about: Mapping[Cue, Mapping[str, int]] = field(default_factory=dict)
    """What a cue changes in the journal besides the state."""
    waiting_stream: Stream = Stream.active
    """What QEMU's `setup` means: at a source it connects, at a destination nobody has come yet."""
    patience_s: Mapping[Cue, float] = field(default_factory=dict)
    """A cue counts only after it has been seen for so long: QEMU may be about to do something by itself."""


class Course:
    """One hand-over of one VM, on one side."""

    def __init__(self, vm: LocalVm, order: Order, side: Side) -> None:
        self.vm = vm
        self.order = order
        self.begun = asyncio.Event()
        """QEMU is listened to, and what was missed has been looked at."""
        self.over = asyncio.Event()
        self._side = side
        self._doubtful: tuple[Cue, float] | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def state(self) -> Ownership:
        """What the journal says."""
        return self.vm.owner.state

    async def take(self, cue: Cue, **about: str | int) -> bool:
        """The cue is in the journal and its acts are begun; false: the journal is about another hand-over by now.

        `Broken`: the table has no row for it, and nothing was done.
        """
        async with self.vm.owner.turn:
            return await self._take(cue, about)

    async def look(self, seen: Sight | None = None) -> None:
        """What QEMU is seen to do, or what is given, has its consequence."""
        async with self.vm.owner.turn:
            if not self._is_ours:
                return
            cue = look(self.state, seen or await self._sight())
            if cue is not None and self._counts(cue):
                await self._take(cue, {})

    async def stall(self, cue: Cue) -> None:
        """The stream has been watched long enough; if it came after all, that counts. What fails may be tried again."""
        await self._guarded(self._stalled(cue))

    async def _stalled(self, cue: Cue) -> None:
        async with self.vm.owner.turn:
            if self._is_ours and look(self.state, await self._sight()) is None:
                await self._take(cue, {})

    def soon(self, work: Coroutine[Any, Any, object]) -> None:
        """The work goes on by itself: an act may not wait, because the next cue waits for it."""
        task = asyncio.create_task(self._guarded(work))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def follow(self) -> None:
        """Until it is over: each event is heeded, a lost keeper is awaited, a dead QEMU is looked at."""
        clock = asyncio.create_task(self._look_by_the_clock())
        try:
            while not self.over.is_set():
                with suppress(Unreachable):
                    await self._listen()
                await self._found()
        finally:
            clock.cancel()

    async def close(self) -> None:
        """Nothing of it goes on here; QEMU and journal stay as they are."""
        tasks = self._tasks - {asyncio.current_task()}
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    @property
    def _is_ours(self) -> bool:
        return self.vm.owner.is_about(self.order)

    async def _take(self, cue: Cue, about: Mapping[str, str | int]) -> bool:
        if not (self._is_ours or about.get("migration") == self.order.migration):
            return False
        before = self.state
        acts = self.vm.owner.take(cue, **{**self._side.about.get(cue, {}), **about})
        now = self.state
        if now != before:
            self._side.changed()
        try:
            for act in acts:
                await self._side.acts[act]()
        finally:  # writing that takes time, too, and what is to be done must not wait for it
            if now != before:
                log.info("%s at the %s: %s, so %s becomes %s", self.vm.name, self._side.name, cue, before, now)
        if self.state in self._side.ends:
            self.over.set()
        return True

    async def _listen(self) -> None:
        with self.vm.machine.monitor.listening() as events:
            self._side.recall(await self.vm.machine.history())
            await self._looked()
            self.begun.set()
            while not self.over.is_set():
                event = await anext(events)
                self._side.heed(event)
                await self._guarded(self._hear(event))

    async def _looked(self) -> None:
        """After a restart, of the agent or of the keeper; what cannot be done now is done by the clock."""
        try:
            await self.look()
        except Unreachable:
            raise
        except GodwitError as error:
            log.error("%s at the %s stands still: %s", self.vm.name, self._side.name, error)

    async def _hear(self, event: QmpEvent) -> None:
        status = event.data.get("status") if event.name == "MIGRATION" else None
        if status == "completed":
            await self.look(LOADED)
        elif event.name == "RESUME" and self.state in {Ownership.reclaim, Ownership.conting}:
            await self.look(RESUMED)
        elif event.name in {"RESUME", EXITED} or status in {"failed", "cancelled"}:
            await self.look()

    async def _found(self) -> None:
        """Its keeper answers again, or QEMU is dead and that has been looked at."""
        if self.over.is_set():
            return
        await self.vm.found_again()
        if self.vm.machine.gone.is_set() and self.vm.machine.monitor.closed.done():
            self._side.recall(await self.vm.machine.history())
            await self._looked()
            self.begun.set()
            await self.over.wait()

    async def _look_by_the_clock(self) -> None:
        while True:
            await asyncio.sleep(self.vm.waits.look_s)
            if self._side.is_waiting():
                await self._guarded(self.look())

    def _counts(self, cue: Cue) -> bool:
        """At once, or after it has been seen for some time."""
        patience_s = self._side.patience_s.get(cue)
        if patience_s is None:
            return True
        loop = asyncio.get_running_loop()
        if self._doubtful is None or self._doubtful[0] != cue:
            self._doubtful = cue, loop.time()
            loop.call_later(patience_s, lambda: self.soon(self.look()))
        return loop.time() - self._doubtful[1] >= patience_s

    async def _sight(self) -> Sight:
        """One look: the stream first, then whether it runs, for the other order shows what never was."""
        history = await self.vm.machine.history()
        if history.is_alive:
            try:
                return await self._living(history)
            except Unreachable:
                raise
            except Failed:  # it has just ended
                history = await self.vm.machine.history()
        return Sight(alive=False, resumed=self._resumed(history))

    async def _living(self, history: History) -> Sight:
        machine = self.vm.machine
        status = (await memory.sample(machine.monitor)).status
        stream = self._side.waiting_stream if status == "setup" else STREAMS.get(status, Stream.active)
        runs = await machine.runstate() == "running"
        return Sight(alive=True, stream=stream, runs=runs, resumed=self._resumed(history))

    def _resumed(self, history: History) -> bool | None:
        return (history.of_last_stream() if self._side.name == "source" else history).resumed()

    async def _guarded(self, work: Coroutine[Any, Any, object]) -> None:
        """What cannot be done now is done by the clock; that a connection ended, whoever listens to it learns too."""
        try:
            await work
        except Unreachable as error:
            log.info("%s at the %s: %s", self.vm.name, self._side.name, error)
        except GodwitError as error:
            log.error("%s at the %s stands still: %s", self.vm.name, self._side.name, error)

"""The hosts as the manager sees them: who answers, what each one told last, and what happens there."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from contextlib import aclosing
from typing import Any, cast

from godwit.contract.host import Host, Nothing
from godwit.core.config import HostConfig
from godwit.core.errors import GodwitError, NotFound, TimedOut, Unreachable
from godwit.core.model import HostFacts, VmStatus
from godwit.core.resources import HostState

ANSWER_S = 5.0
"""How long a host may think about its facts."""
NOT_ASKED = "not asked yet"
FIRST_PAUSE_S = 0.5
LONGEST_PAUSE_S = 10.0

Connect = Callable[[str, str], Host]
"""(name, address) -> that host."""
Came = Callable[[str, HostFacts], Awaitable[None]]
Heard = Callable[[str, VmStatus], Awaitable[None]]


class Fleet:
    """All hosts of the configuration."""

    def __init__(self, configs: Mapping[str, HostConfig], connect: Connect) -> None:
        self._hosts = {name: connect(name, config.address) for name, config in configs.items()}
        self._states = {
            name: HostState(name=name, address=config.address, reachable=False, reason=NOT_ASKED)
            for name, config in configs.items()
        }

    def host(self, name: str) -> Host:
        """That host's verbs, or `NotFound`."""
        if name not in self._hosts:
            known = ", ".join(sorted(self._hosts)) or "none"
            raise NotFound(f"there is no host {name!r}: the manager knows {known}", "no-host")
        return self._hosts[name]

    def state(self, name: str) -> HostState:
        """As last seen."""
        self.host(name)
        return self._states[name]

    def is_silent(self, name: str) -> bool:
        """It did not answer when it was asked last."""
        state = self._states.get(name)
        return state is not None and not state.reachable and state.reason != NOT_ASKED

    def states(self) -> list[HostState]:
        """All hosts as last seen, by name."""
        return [self._states[name] for name in sorted(self._states)]

    async def facts(self, name: str) -> HostFacts:
        """What that host says now; `Unreachable` when it says nothing."""
        try:
            async with asyncio.timeout(ANSWER_S):
                facts = await self.host(name).facts(Nothing())
        except TimeoutError:
            raise self._lost(name, Unreachable(f"{name} did not answer within {ANSWER_S:.0f} s")) from None
        except (Unreachable, TimedOut) as error:
            raise self._lost(name, error) from error
        self._states[name] = self._states[name].model_copy(update={"reachable": True, "reason": None, "facts": facts})
        return facts

    async def look(self) -> list[HostFacts]:
        """What every host that answers says now, by name."""
        answers = await asyncio.gather(*(self.facts(name) for name in sorted(self._hosts)), return_exceptions=True)
        for answer in answers:
            if isinstance(answer, BaseException) and not isinstance(answer, GodwitError):
                raise answer
        return [answer for answer in answers if isinstance(answer, HostFacts)]

    async def watch(self, name: str, came: Came, heard: Heard) -> None:
        """For ever: `came` each time the host is there (again), then `heard` with all that happens on it."""
        pause_s = FIRST_PAUSE_S
        while True:
            try:
                await came(name, await self.facts(name))
                pause_s = FIRST_PAUSE_S
                # The contract promises an iterator; every implementation is a generator, to be closed with us.
                async with aclosing(cast(Any, self.host(name).watch(Nothing()))) as statuses:
                    async for status in statuses:
                        await heard(name, status)
                self._lost(name, Unreachable(f"{name} ended the connection"))
            except GodwitError as error:
                self._lost(name, error)
            await asyncio.sleep(pause_s)
            pause_s = min(2 * pause_s, LONGEST_PAUSE_S)

    def _lost(self, name: str, error: GodwitError) -> GodwitError:
        self._states[name] = self._states[name].model_copy(update={"reachable": False, "reason": error.message})
        return error

"""A manager over two hosts in memory, for the tests of the manager and of what lies above it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

from godwit.contract.host import Host
from godwit.contract.store import MigrationRecord
from godwit.core.config import DatastoreConfig, HostConfig, ImageConfig, ManagerConfig, ManagerNetworkConfig, Tls
from godwit.core.errors import Unreachable
from godwit.core.migration import Event, MigrationRequest
from godwit.core.resources import NicRequest, VmRequest
from godwit.manager.feed import Observer
from godwit.manager.manager import Manager
from godwit.store.memory import MemoryStore
from godwit.testing.faults import STREAMS
from godwit.testing.world import World

WEB = VmRequest(name="web-1", memory_mib=256, nics=(NicRequest(network="lan"),), host="host-a")
MOVE = MigrationRequest(vm="web-1", destination="host-b")


class Door:
    """A host behind a line that can be cut, and that can hold back single verbs."""

    def __init__(self, host: Host) -> None:
        self._host = host
        self.is_cut = False
        self.loses_answers_of: set[str] = set()
        self.held: dict[str, asyncio.Event] = {}
        self.entered: dict[str, asyncio.Event] = {}

    def hold(self, verb: str) -> asyncio.Event:
        """From now on that verb waits, before it does anything, until `held[verb]` is set; tells when one waits."""
        self.held[verb] = asyncio.Event()
        self.entered[verb] = asyncio.Event()
        return self.entered[verb]

    def __getattr__(self, verb: str) -> Any:
        real = getattr(self._host, verb)
        if verb in STREAMS:
            return lambda request: self._stream(verb, real, request)
        return lambda request: self._order(verb, real, request)

    async def _order(self, verb: str, real: Any, request: Any) -> Any:
        await self._pass(verb)
        answer = await real(request)
        if verb in self.loses_answers_of:
            raise Unreachable("the answer was lost")
        return answer

    async def _stream(self, verb: str, real: Any, request: Any) -> AsyncIterator[Any]:
        await self._pass(verb)
        async for item in real(request):
            yield item

    async def _pass(self, verb: str) -> None:
        if self.is_cut:
            raise Unreachable("the line is cut")
        if verb in self.held:
            self.entered[verb].set()
            await self.held[verb].wait()


@dataclass
class Site:
    """What a manager needs, and what outlives it."""

    config: ManagerConfig
    world: World = field(default_factory=World)
    store: MemoryStore = field(default_factory=MemoryStore)
    told: list[tuple[MigrationRecord, Event]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.doors = {each.name: Door(each) for each in (self.world.source, self.world.destination)}

    def connect(self, name: str, address: str) -> Host:
        """Through its door."""
        return cast(Host, self.doors[name])

    @asynccontextmanager
    async def manager(self, *observers: Observer) -> AsyncIterator[Manager]:
        """One that has started and sees both hosts."""
        manager = self.start(*observers)
        await manager.start()
        await manager.fleet.look()
        try:
            yield manager
        finally:
            await manager.close()

    def start(self, *observers: Observer) -> Manager:
        """One that has not been started; whoever starts it closes it."""
        return Manager(self.config, store=self.store, connect=self.connect, observers=(self._tell, *observers))

    def _tell(self, record: MigrationRecord, event: Event) -> None:
        self.told.append((record, event))


def make_site(directory: Path) -> Site:
    """Two hosts, a network with a pool of three, an image."""
    image = directory / "base"
    image.mkdir()
    (image / "image.json").write_text(json.dumps({"kernel": "vmlinuz", "initrd": "initrd", "cmdline": "quiet"}))
    config = ManagerConfig(
        tls=Tls(ca=directory / "ca", certificate=directory / "cert", key=directory / "key"),
        hosts={name: HostConfig(address=f"{name}:7411") for name in ("host-a", "host-b")},
        networks={"lan": ManagerNetworkConfig(pool="10.90.0.100-10.90.0.102/24"), "dark": ManagerNetworkConfig()},
        datastores={"default": DatastoreConfig(path=directory, shared=True)},
        images={"base": ImageConfig(path=image), "broken": ImageConfig(path=directory)},
    )
    return Site(config)


async def until(condition: Callable[[], bool]) -> None:
    """Returns once it holds; on a loop whose time jumps this takes none."""
    async with asyncio.timeout(600):
        while not condition():  # noqa: ASYNC110 - the fakes have nothing to wait for, and time jumps
            await asyncio.sleep(0.05)


async def ended(manager: Manager, id: str) -> list[Event]:
    """All events of a migration that has come to its end."""
    async with asyncio.timeout(600):
        return [event async for event in manager.feed.follow(id)]

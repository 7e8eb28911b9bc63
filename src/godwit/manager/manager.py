"""The manager: the only one who decides. Its parts, and how they begin and end."""

from __future__ import annotations

import asyncio

from godwit.contract.host import Examine
from godwit.contract.store import Store
from godwit.core.checked import HostChecked, Rehearsal, RehearsalRequest
from godwit.core.config import ManagerConfig
from godwit.core.leftover import Leftovers
from godwit.core.model import HostFacts, Image
from godwit.core.resources import HostState, NetworkView
from godwit.manager.addresses import parse_pool
from godwit.manager.checking import Checker
from godwit.manager.draining import Draining
from godwit.manager.examining import examine
from godwit.manager.feed import Feed, Observer
from godwit.manager.fleet import Connect, Fleet
from godwit.manager.inventory import Inventory
from godwit.manager.records import Records
from godwit.manager.rehearsing import Rehearsals, check_unless_elsewhere
from godwit.manager.runner import Runner
from godwit.manager.turns import Turns
from godwit.manager.watching import Watcher


class Manager:
    """One per store."""

    def __init__(
        self, config: ManagerConfig, *, store: Store, connect: Connect, observers: tuple[Observer, ...] = ()
    ) -> None:
        self._config = config
        self._records = Records(store)
        self.fleet = Fleet(config.hosts, connect)
        turns = Turns(self._records)
        self.feed = Feed(self._records, (*observers, turns.heard))
        self.inventory = Inventory(config, self._records, self.fleet)
        self.runner = Runner(self._records, self.fleet, self.feed, turns)
        self.checker = Checker(self._records, self.fleet)
        self.draining = Draining(self._records, self.fleet, self.runner)
        self._rehearsals = Rehearsals(self._records, self.inventory, self.runner, self.feed)
        self._watcher = Watcher(self._records, self.fleet)
        self._watches: list[asyncio.Task[None]] = []

    async def start(self) -> None:
        """The store is read, hosts are watched, unfinished migrations are looked at; `Invalid` for a bad pool."""
        for network in self._config.networks.values():
            if network.pool is not None:
                parse_pool(network.pool)
        await self._records.load()
        for name in self._config.hosts:
            watch = self.fleet.watch(name, self._came, self._watcher.heard)
            self._watches.append(asyncio.create_task(watch))
        await self.runner.adopt_unfinished()
        self._watches.append(asyncio.create_task(self._rehearsals.sweep()))

    async def close(self) -> None:
        """Nothing runs any more, and all is stored; the store is the caller's to close."""
        await self.runner.close()
        for task in self._watches:
            task.cancel()
        await asyncio.gather(*self._watches, return_exceptions=True)
        self.feed.close()
        await self._records.close()

    def host_state(self, name: str) -> HostState:
        """That host as last seen, and whether it takes something new."""
        return self.fleet.state(name).model_copy(update={"draining": self._records.is_draining(name)})

    def host_states(self) -> list[HostState]:
        """All of them, by name."""
        return [self.host_state(each.name) for each in self.fleet.states()]

    async def rehearse(self, name: str, request: RehearsalRequest) -> Rehearsal:
        """What happened to a throw-away VM like that one, which was really moved and is gone."""
        vm = self._records.vm(name)
        for host in (request.source or vm.host, request.destination):
            self.fleet.host(host)
        checked = await check_unless_elsewhere(self.checker, vm, request)
        return await self._rehearsals.rehearse(vm, request, checked)

    async def check_host(self, host: str) -> HostChecked:
        """What would trouble any VM that came there; nothing is changed."""
        return await examine(self.fleet, host, self.checker.movers)

    async def examine(self, host: str, *, repair: bool) -> Leftovers:
        """What lies on that host that nobody needs; removed, if asked for and safe."""
        under_way = tuple(each.id for each in self.runner.migrations() if not each.is_ended)
        return await self.fleet.host(host).examine(Examine(repair=repair, migrations=under_way))

    def networks(self) -> list[NetworkView]:
        """All networks, and which hosts have them."""
        return [
            NetworkView(name=name, pool=config.pool, hosts=self._hosts_with(name))
            for name, config in sorted(self._config.networks.items())
        ]

    def images(self) -> list[Image]:
        """All images that can be used now."""
        return self.inventory.images.usable()

    async def _came(self, host: str, facts: HostFacts) -> None:
        """It is told what it must know, and asked again."""
        await self.inventory.datastores.tell(host)
        await self._watcher.came(host, await self.fleet.facts(host))

    def _hosts_with(self, network: str) -> tuple[str, ...]:
        """As last seen."""
        return tuple(each.name for each in self.fleet.states() if each.facts and network in each.facts.networks)

"""The manager: the only one who decides. Its parts, and how they begin and end."""

from __future__ import annotations

import asyncio

from godwit.contract.store import Store
from godwit.core.config import ManagerConfig
from godwit.core.errors import NotFound
from godwit.core.model import Image
from godwit.core.resources import DatastoreView, DiskView, NetworkView
from godwit.manager.addresses import parse_pool
from godwit.manager.feed import Feed, Observer
from godwit.manager.fleet import Connect, Fleet
from godwit.manager.inventory import Inventory
from godwit.manager.records import Records
from godwit.manager.runner import Runner
from godwit.manager.watching import Watcher


class Manager:
    """One per store."""

    def __init__(
        self, config: ManagerConfig, *, store: Store, connect: Connect, observers: tuple[Observer, ...] = ()
    ) -> None:
        self._config = config
        self._records = Records(store)
        self.fleet = Fleet(config.hosts, connect)
        self.feed = Feed(self._records, observers)
        self.inventory = Inventory(config, self._records, self.fleet)
        self.runner = Runner(self._records, self.fleet, self.feed)
        self._watcher = Watcher(self._records, self.fleet)
        self._watches: list[asyncio.Task[None]] = []

    async def start(self) -> None:
        """The store is read, hosts are watched, unfinished migrations are looked at; `Invalid` for a bad pool."""
        for network in self._config.networks.values():
            if network.pool is not None:
                parse_pool(network.pool)
        await self._records.load()
        for name in self._config.hosts:
            watch = self.fleet.watch(name, self._watcher.came, self._watcher.heard)
            self._watches.append(asyncio.create_task(watch))
        await self.runner.adopt_unfinished()

    async def close(self) -> None:
        """Nothing runs any more, and all is stored; the store is the caller's to close."""
        await self.runner.close()
        for task in self._watches:
            task.cancel()
        await asyncio.gather(*self._watches, return_exceptions=True)
        self.feed.close()
        await self._records.close()

    def networks(self) -> list[NetworkView]:
        """All networks, and which hosts have them."""
        return [
            NetworkView(name=name, pool=config.pool, hosts=self._hosts_with("networks", name))
            for name, config in sorted(self._config.networks.items())
        ]

    def datastores(self) -> list[DatastoreView]:
        """All datastores, and which hosts see them."""
        return [
            DatastoreView(
                name=name, path=str(config.path), shared=config.shared, hosts=self._hosts_with("datastores", name)
            )
            for name, config in sorted(self._config.datastores.items())
        ]

    def datastore(self, name: str) -> DatastoreView:
        """That datastore, or `NotFound`."""
        for each in self.datastores():
            if each.name == name:
                return each
        known = ", ".join(sorted(self._config.datastores)) or "none"
        raise NotFound(f"there is no datastore {name!r}: the manager knows {known}", "no-datastore")

    def disks(self) -> list[DiskView]:
        """All disks of all VMs."""
        return [DiskView(vm=vm.name, **disk.model_dump()) for vm in self.inventory.views() for disk in vm.disks]

    def images(self) -> list[Image]:
        """All images that can be used now."""
        return self.inventory.images.usable()

    def _hosts_with(self, what: str, name: str) -> tuple[str, ...]:
        """Of the hosts, as last seen."""
        return tuple(each.name for each in self.fleet.states() if each.facts and name in getattr(each.facts, what))

"""The datastores: those of the configuration, and those that the operator added."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Collection, Mapping

from godwit.contract.disks import UseDatastores
from godwit.contract.store import Change
from godwit.core.config import DatastoreConfig
from godwit.core.errors import GodwitError, Invalid, NotFound, Refused
from godwit.core.model import Datastore, DatastoreFacts
from godwit.core.resources import DatastoreView
from godwit.manager.fleet import Fleet
from godwit.manager.records import Records

DIRECTORY = re.compile(r"/.*")
ISCSI = re.compile(r"iscsi://[^/@]+/[^/]+")


class Datastores:
    """All that VMs may have disks in; every host is told of them when it is there."""

    def __init__(self, configs: Mapping[str, DatastoreConfig], records: Records, fleet: Fleet) -> None:
        self._own = {
            name: Datastore(name=name, path=str(each.path), shared=each.shared) for name, each in configs.items()
        }
        self._records = records
        self._fleet = fleet

    def get(self, name: str) -> Datastore:
        """That one, or `NotFound`."""
        known = self._known()
        if name not in known:
            names = ", ".join(sorted(known)) or "none"
            raise NotFound(f"there is no datastore {name!r}: the manager knows {names}", "no-datastore")
        return known[name]

    def views(self) -> list[DatastoreView]:
        """All of them as people see them, by name."""
        return [self.view(name) for name in sorted(self._known())]

    def view(self, name: str) -> DatastoreView:
        """That one, or `NotFound`."""
        used = self._records.units_in_use()
        free = {host: _free_bytes(facts, used) for host, facts in self._seen(name).items()}
        disks = sum(volume.datastore == name for vm in self._records.vms.values() for volume in vm.spec.volumes)
        return DatastoreView(**self.get(name).model_dump(), hosts=tuple(free), free_bytes=free, disks=disks)

    async def add(self, datastore: Datastore) -> DatastoreView:
        """It is known here and on every host that sees it; `Refused` when none does, and then nothing changed."""
        if datastore.kind == "iscsi":
            datastore = datastore.model_copy(update={"shared": True})
        if not (ISCSI if datastore.kind == "iscsi" else DIRECTORY).fullmatch(datastore.path):
            raise Invalid(
                f"{datastore.path!r} is neither the absolute path of a directory nor an iSCSI target "
                "(iscsi://ADDRESS[:PORT]/NAME), which a datastore is",
                "datastore",
            )
        await self._records.change(lambda: self._added(datastore))
        await self._tell_all()
        if not self._seen(datastore.name):
            await self._records.change(lambda: Change(forgotten_datastores=(datastore.name,)))
            await self._tell_all()
            raise Refused(
                f"no host that answers sees {datastore.path}: make it, mount it, or let the target admit hosts, first",
                "datastore-missing",
            )
        return self.view(datastore.name)

    async def remove(self, name: str) -> None:
        """It is no longer known; what lies in its directory stays. `Refused` while a VM has a disk there."""
        await self._records.change(lambda: self._removed(name))
        await self._tell_all()

    async def tell(self, host: str) -> None:
        """That host knows all of them."""
        await self._fleet.host(host).use_datastores(UseDatastores(datastores=tuple(self._known().values())))

    def _known(self) -> dict[str, Datastore]:
        return self._records.datastores | self._own

    def _seen(self, name: str) -> dict[str, DatastoreFacts]:
        """By host, as last seen."""
        return {
            state.name: each
            for state in self._fleet.states()
            if state.facts
            for each in state.facts.datastores
            if each.name == name
        }

    async def _tell_all(self) -> None:
        """Hosts that do not answer are told when they come back."""
        told = await asyncio.gather(*(self.tell(each.name) for each in self._fleet.states()), return_exceptions=True)
        for error in told:
            if isinstance(error, BaseException) and not isinstance(error, GodwitError):
                raise error
        await self._fleet.look()

    def _added(self, datastore: Datastore) -> Change:
        if datastore.name in self._known():
            raise Refused(f"there is a datastore {datastore.name!r} already: choose another name", "datastore-exists")
        return Change(datastores=(datastore,))

    def _removed(self, name: str) -> Change:
        self.get(name)
        if name in self._own:
            raise Refused(f"datastore {name} is in the manager's configuration: remove it there", "configured")
        users = [vm.name for vm in self._records.vms.values() if any(v.datastore == name for v in vm.spec.volumes)]
        if users:
            raise Refused(
                f"datastore {name} holds disks of {', '.join(sorted(users))}: delete these VMs first",
                "datastore-in-use",
            )
        return Change(forgotten_datastores=(name,))


def _free_bytes(facts: DatastoreFacts, used: Collection[str]) -> int:
    """What nobody has: of a target, all units that are no VM's."""
    if facts.kind == "directory":
        return facts.free_bytes
    return sum(each.size_bytes for each in facts.luns if f"{facts.path}/{each.number}" not in used)

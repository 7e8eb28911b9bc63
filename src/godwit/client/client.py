"""The REST API as an object."""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import TYPE_CHECKING

from godwit.client.console import Console, open_console
from godwit.client.migrations import Migrations
from godwit.client.session import ANSWER_S, quote
from godwit.core.draining import Drain
from godwit.core.leftover import Leftovers
from godwit.core.model import Datastore, Image
from godwit.core.resources import (
    AuditEntry,
    DatastoreView,
    DiskView,
    DrainRequest,
    HostState,
    NetworkView,
    VmChange,
    VmRequest,
    VmView,
)

if TYPE_CHECKING:
    from godwit.core.checked import Checked, HostChecked, Rehearsal, RehearsalRequest

COPY_S = 3700.0
"""How long making a VM may take, whose disk image may be large."""


class Client(Migrations):
    """One manager, spoken to over its unix socket (a path), or over TCP (a `Remote`)."""

    def hosts(self) -> list[HostState]:
        """All hosts, asked now."""
        return self._ask("GET", "/hosts", list[HostState])

    def host(self, name: str, *, arrivals: bool = False) -> HostState:
        """That host, asked now; with `arrivals`, which VMs could come there."""
        return self._ask("GET", f"/hosts/{quote(name)}{'?arrivals=true' if arrivals else ''}", HostState)

    def drain_plan(self, host: str) -> Drain:
        """Where its VMs would go, and which cannot; nothing is changed."""
        return self._ask("GET", f"/hosts/{quote(host)}/drain", Drain)

    def drain(self, host: str, *, parallel: int | None = None) -> Drain:
        """Nothing new is placed there, and what can go is on its way."""
        return self._ask("POST", f"/hosts/{quote(host)}/drain", Drain, body=DrainRequest(parallel=parallel))

    def activate(self, host: str) -> HostState:
        """It takes VMs again."""
        return self._ask("POST", f"/hosts/{quote(host)}/activate", HostState)

    def leftovers(self, host: str, *, repair: bool = False) -> Leftovers:
        """What lies there that nobody needs; removed, if asked for and safe."""
        method = "DELETE" if repair else "GET"
        return self._ask(method, f"/hosts/{quote(host)}/leftovers", Leftovers)

    def check_host(self, host: str) -> HostChecked:
        """What would trouble any VM that came there."""
        from godwit.core.checked import HostChecked

        return self._ask("GET", f"/hosts/{quote(host)}/checks", HostChecked)

    def networks(self) -> list[NetworkView]:
        """All networks."""
        return self._ask("GET", "/networks", list[NetworkView])

    def datastores(self) -> list[DatastoreView]:
        """All datastores."""
        return self._ask("GET", "/datastores", list[DatastoreView])

    def datastore(self, name: str) -> DatastoreView:
        """That datastore."""
        return self._ask("GET", f"/datastores/{quote(name)}", DatastoreView)

    def add_datastore(self, datastore: Datastore) -> DatastoreView:
        """VMs can have disks there."""
        return self._ask("POST", "/datastores", DatastoreView, body=datastore)

    def remove_datastore(self, name: str) -> None:
        """It is no longer known; its files stay."""
        self._send("DELETE", f"/datastores/{quote(name)}")

    def disks(self) -> list[DiskView]:
        """All disks of all VMs."""
        return self._ask("GET", "/disks", list[DiskView])

    def images(self) -> list[Image]:
        """All images."""
        return self._ask("GET", "/images", list[Image])

    def vms(self) -> list[VmView]:
        """All VMs."""
        return self._ask("GET", "/vms", list[VmView])

    def vm(self, name: str, *, destinations: bool = False) -> VmView:
        """That VM; with `destinations`, where it can go."""
        return self._ask("GET", f"/vms/{quote(name)}{'?destinations=true' if destinations else ''}", VmView)

    def change_vm(self, name: str, change: VmChange) -> VmView:
        """Its owner's rules are these."""
        return self._ask("PATCH", f"/vms/{quote(name)}", VmView, body=change)

    def check(self, vm: str, host: str) -> Checked:
        """What stands in the way of moving it there, and what may hurt."""
        from godwit.core.checked import Checked

        return self._ask("GET", f"/vms/{quote(vm)}/checks/{quote(host)}", Checked)

    def create_vm(self, request: VmRequest, *, key: str | None = None) -> VmView:
        """A new VM; it runs, unless `start` is false. Asked again with the same `key`, it is the same one for a day."""
        return self._ask("POST", "/vms", VmView, body=request, key=key, timeout_s=COPY_S)

    def start_vm(self, name: str) -> VmView:
        """It runs."""
        return self._ask("POST", f"/vms/{quote(name)}/start", VmView)

    def stop_vm(self, name: str, *, grace_s: float = 30.0) -> VmView:
        """It is off: by itself within the grace, else by force."""
        return self._ask("POST", f"/vms/{quote(name)}/stop?grace_s={grace_s}", VmView, timeout_s=ANSWER_S + grace_s)

    def delete_vm(self, name: str) -> None:
        """It is forgotten, and its disks are removed."""
        self._send("DELETE", f"/vms/{quote(name)}")

    def console(self, name: str) -> AbstractContextManager[Console]:
        """Its serial console, as long as the context holds."""
        return open_console(self._place, quote(name))

    def rehearse(self, vm: str, request: RehearsalRequest) -> Rehearsal:
        """What happened to a throw-away VM like that one, which was really moved and is gone."""
        from godwit.core.checked import Rehearsal

        return self._ask("POST", f"/vms/{quote(vm)}/rehearsals", Rehearsal, body=request)

    def audit(self, *, limit: int = 100) -> list[AuditEntry]:
        """The newest requests that changed something, oldest first."""
        return self._ask("GET", f"/audit?limit={limit}", list[AuditEntry])

"""What becomes of a VM's record when its host tells something."""

from __future__ import annotations

from godwit.contract.host import VmRef
from godwit.contract.store import VmRecord
from godwit.core.errors import GodwitError, NotFound
from godwit.core.model import HostFacts, VmState, VmStatus
from godwit.manager.fleet import Fleet
from godwit.manager.records import Records

OVER = frozenset({VmState.crashed, VmState.stopped})
ALIVE = frozenset({VmState.starting, VmState.running, VmState.migrating})


class Watcher:
    """Keeps the records of VMs true; a migration keeps the record of the VM that it moves itself."""

    def __init__(self, records: Records, fleet: Fleet) -> None:
        self._records = records
        self._fleet = fleet

    async def came(self, host: str, facts: HostFacts) -> None:
        """A host is there (again): a VM that should run there and is not there has crashed."""
        there = {status.name for status in facts.vms}
        for record in list(self._records.vms.values()):
            if record.host == host and record.name not in there and record.state in ALIVE and self._is_ours(record):
                await self._crashed(record.name, f"it is not on {host}, which answers again")

    async def heard(self, host: str, status: VmStatus) -> None:
        """A VM changed there; one that has ended is nobody's any more, and counts all the same."""
        record = self._records.vms.get(status.name)
        counts = status.owned or status.state in OVER
        if record is None or record.host != host or not counts or record.migration is not None:
            return
        if status.state == VmState.crashed:
            await self._crashed(record.name, f"QEMU on {host} ended with exit status {status.exit_status}")
        elif self._records.is_claimed(record.name):
            return  # whoever starts or stops it knows better
        elif status.state != record.state and status.state in {VmState.running, VmState.stopped}:
            await self._records.change_vm(record.name, state=status.state, reason=None)

    async def look(self, name: str) -> None:
        """The record says what the VM's host says; if the host says nothing, it stays, and so it does while somebody
        starts or stops the VM, who knows better. None misses a VM at rest."""
        record = self._records.vms.get(name)
        if record is None or not self._is_ours(record):
            return
        try:
            status = await self._fleet.host(record.host).vm_status(VmRef(name=name))
        except NotFound:
            now = self._records.vms.get(name)
            is_as_before = now and (now.state, now.host) == (record.state, record.host) and self._is_ours(now)
            if record.state in ALIVE and is_as_before:
                await self._crashed(name, f"it is no longer on {record.host}")
        except GodwitError:
            return
        else:
            await self.heard(record.host, status)

    def _is_ours(self, record: VmRecord) -> bool:
        return record.migration is None and not self._records.is_claimed(record.name)

    async def _crashed(self, name: str, reason: str) -> None:
        text = f"{reason}; start it again with `godwit vm start {name}`"
        await self._records.change_vm(name, state=VmState.crashed, reason=text)

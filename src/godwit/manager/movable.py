"""Whether a VM is in a state in which it can be moved as asked: what its record alone can tell."""

from __future__ import annotations

from godwit.contract.store import VmRecord
from godwit.core.errors import Refused
from godwit.core.migration import MigrationRequest
from godwit.core.model import VmState

AT_REST = frozenset({VmState.stopped, VmState.crashed})


def movable(vm: VmRecord, request: MigrationRequest) -> VmRecord:
    """That VM; `Refused` says what to do first."""
    if vm.migration is not None:
        raise Refused(
            f"{vm.name} is being moved already by migration {vm.migration}: see `godwit migration show {vm.migration}`",
            "vm-migrating",
        )
    if request.cold:
        _refuse_unless_off(vm, request)
    elif vm.state is not VmState.running:
        raise Refused(
            f"{vm.name} is {vm.state} on {vm.host}: only a running VM can be moved live; "
            f"start it first, or move it as it is with --cold",
            "vm-not-running",
        )
    return vm


def _refuse_unless_off(vm: VmRecord, request: MigrationRequest) -> None:
    if vm.state is VmState.running and not request.shut_down:
        raise Refused(
            f"{vm.name} runs on {vm.host}: let it be shut down, moved and started again with --yes, or move it live "
            "without --cold",
            "vm-running",
        )
    if vm.state not in {*AT_REST, VmState.running}:
        raise Refused(f"{vm.name} is {vm.state} on {vm.host}: see `godwit vm show {vm.name}`", "vm-not-stopped")

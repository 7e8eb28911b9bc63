"""VMs that are off: which host may start them, by the journals of both."""

from __future__ import annotations

from godwit.agent.vms import Vms
from godwit.contract.disks import GiveVm, TakeVm
from godwit.contract.host import Order, StartVm
from godwit.core.errors import Refused
from godwit.core.ownership import Cue, Ownership


class Resting:
    """A host that gave a VM away starts it again only after it took it, or received it."""

    def __init__(self, vms: Vms) -> None:
        self._vms = vms

    async def give(self, request: GiveVm) -> None:
        """The journal says DONE, durably; `Refused` while a QEMU of the VM is here."""
        self.refuse_unless_off(request.vm)
        owner = self._vms.owner(request.vm)
        async with owner.turn:
            if not (owner.is_about(request) and owner.state == Ownership.done):
                owner.take(Cue.went_cold, **_about(request, request.destination))

    async def take(self, request: TakeVm) -> None:
        """The journal says no longer that this host gave the VM away: it may be started here."""
        owner = self._vms.owner(request.vm)
        async with owner.turn:
            owner.take(Cue.came_cold, **_about(request, request.source))

    def refuse_given(self, request: StartVm) -> None:
        """`Refused` if this host gave the VM away, and the order to start it is older."""
        owner = self._vms.owner(request.spec.name)
        if owner.state == Ownership.done and (request.epoch is None or request.epoch <= owner.epoch):
            raise Refused(
                f"{request.spec.name} was given to {owner.peer} by {self._vms.config.host} and may only be started "
                f"there: see `godwit vm show {request.spec.name}`",
                "given-away",
            )

    def refuse_unless_off(self, vm: str) -> None:
        """`Refused` while a QEMU of it is here."""
        if self._vms.has(vm) and self._vms.get(vm).is_alive:
            raise Refused(f"{vm} is not off on {self._vms.config.host}: stop it first", "vm-running")


def _about(order: Order, peer: str) -> dict[str, str | int]:
    return {"migration": order.migration, "epoch": order.epoch, "count": 0, "peer": peer, "qemu_pid": 0}

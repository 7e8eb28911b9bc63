"""VMs and their disks as people see them."""

from __future__ import annotations

from godwit.contract.store import VmRecord
from godwit.core.model import FirmwareKind
from godwit.core.resources import DiskView, VmView


def vm_view(record: VmRecord, *, host_answers: bool) -> VmView:
    """The VM."""
    spec, pinned = record.spec, record.pinned
    return VmView(
        name=record.name,
        state=record.state,
        host=record.host,
        host_answers=host_answers,
        memory_mib=spec.memory_mib,
        cpus=spec.cpus,
        image=spec.image.name,
        uuid=spec.uuid,
        nics=spec.nics,
        disks=spec.disks,
        firmware=FirmwareKind.uefi if spec.firmware else FirmwareKind.bios,
        machine=pinned.machine,
        cpu_model=pinned.cpu_model,
        accelerator=pinned.accelerator,
        migration=record.migration,
        created_at=record.created_at,
        reason=record.reason,
        rules=record.policy.words,
    )


def disk_views(record: VmRecord) -> list[DiskView]:
    """All that the VM has in datastores."""
    return [DiskView(vm=record.name, **volume.model_dump()) for volume in record.spec.volumes]

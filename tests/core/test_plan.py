"""Obstacles: each rule fires for its own reason, and for no other."""

from __future__ import annotations

import pytest

from godwit.core.errors import Refused
from godwit.core.migration import MigrationRequest
from godwit.core.model import DatastoreFacts, Disk, Firmware, HostFacts, UefiFacts, VmState, VmStatus
from godwit.core.plan import Move, make, obstacles
from godwit.testing.world import PINNED, SPEC, facts

DISK = Disk(name="root", datastore="nowhere", path="/nowhere/root.raw", size_bytes=1)
UEFI = Firmware(variables=Disk(name="uefi-variables", datastore="default", path="/datastore/v", size_bytes=1))
OVMF = UefiFacts(code="/code", variables="/variables", code_bytes=1)
HERE = VmStatus(name=SPEC.name, state=VmState.running, owned=True)
QEMU = facts("host-b").qemu


def nowhere(*, shared: bool, path: str = "/nowhere") -> DatastoreFacts:
    return DatastoreFacts(name="nowhere", path=path, shared=shared, free_bytes=1)


def a_move(**spec: object) -> Move:
    return Move(
        migration="m1",
        attempt=1,
        epoch=1,
        spec=SPEC.model_copy(update=spec),
        pinned=PINNED,
        source="host-a",
        destination="host-b",
        request=MigrationRequest(vm=SPEC.name),
    )


def source(**changes: object) -> HostFacts:
    return facts("host-a").model_copy(update={"vms": (HERE,), **changes})


def destination(**changes: object) -> HostFacts:
    return facts("host-b").model_copy(update=changes)


def test_nothing_stands_in_the_way_of_an_ordinary_move() -> None:
    assert obstacles(a_move(), source(), destination()) == []
    assert make(a_move(), source(), destination()).multifd
    both = {"datastores": (nowhere(shared=True), *source().datastores), "uefi": OVMF}
    assert obstacles(a_move(disks=(DISK,), firmware=UEFI), source(**both), destination(**both)) == []


def test_multifd_needs_both() -> None:
    old = destination(qemu=QEMU.model_copy(update={"multifd": False}))

    assert not make(a_move(), source(), old).multifd


@pytest.mark.parametrize(
    ("move", "here", "there", "code"),
    [
        (a_move(), source(vms=()), destination(), "vm-not-running"),
        (a_move(), source(vms=(HERE.model_copy(update={"owned": False}),)), destination(), "vm-not-running"),
        (a_move(), source(), destination(vms=(HERE,)), "vm-at-destination"),
        (a_move(), source(), destination(networks=("dmz",)), "network-missing"),
        (a_move(disks=(DISK,)), source(), destination(), "datastore-missing"),
        (a_move(disks=(DISK,)), source(), destination(datastores=(nowhere(shared=True),)), "datastore-local"),
        (
            a_move(disks=(DISK,)),
            source(datastores=(nowhere(shared=False),)),
            destination(datastores=(nowhere(shared=True),)),
            "datastore-local",
        ),
        (
            a_move(disks=(DISK,)),
            source(datastores=(nowhere(shared=True),)),
            destination(datastores=(nowhere(shared=True, path="/elsewhere"),)),
            "datastore-path",
        ),
        (a_move(firmware=UEFI), source(uefi=OVMF), destination(), "uefi"),
        (
            a_move(firmware=UEFI),
            source(uefi=OVMF),
            destination(uefi=OVMF.model_copy(update={"code_bytes": 2})),
            "uefi",
        ),
        (a_move(), source(), destination(memory_free_mib=255), "memory"),
        (a_move(), source(), destination(qemu=QEMU.model_copy(update={"machines": ()})), "machine-incompatible"),
        (a_move(), source(), destination(qemu=QEMU.model_copy(update={"cpu_models": ()})), "machine-incompatible"),
        (a_move(), source(), destination(qemu=QEMU.model_copy(update={"accelerator": "kvm"})), "machine-incompatible"),
    ],
)
def test_each_obstacle_is_named_alone(move: Move, here: HostFacts, there: HostFacts, code: str) -> None:
    assert [each[1] for each in obstacles(move, here, there)] == [code]
    with pytest.raises(Refused, match="host-"):
        make(move, here, there)

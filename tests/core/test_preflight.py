"""Checks: each rule fires for its own reason, and for no other."""

from __future__ import annotations

import pytest

from godwit.core.errors import Refused
from godwit.core.finding import Finding, Severity, blocker, note, refuse, standing, warning
from godwit.core.migration import MigrationRequest
from godwit.core.model import DatastoreFacts, Disk, Firmware, HostFacts, UefiFacts, VmState, VmStatus
from godwit.core.plan import Move, make
from godwit.core.preflight import Case, find
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


def codes(case: Case) -> list[str]:
    return [each.code for each in find(case)]


def test_nothing_stands_in_the_way_of_an_ordinary_move() -> None:
    assert codes(Case(a_move(), source(), destination())) == []
    assert make(a_move(), source(), destination()).multifd
    both = {"datastores": (nowhere(shared=True), *source().datastores), "uefi": OVMF}
    assert codes(Case(a_move(disks=(DISK,), firmware=UEFI), source(**both), destination(**both))) == []


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
def test_each_blocker_is_found_alone(move: Move, here: HostFacts, there: HostFacts, code: str) -> None:
    found = find(Case(move, here, there))
    assert [(each.code, each.severity) for each in found] == [(code, Severity.blocker)]
    with pytest.raises(Refused, match="host-") as refused:
        refuse(found, force=True)
    assert refused.value.code == code


RISK = blocker("risk", "it is risky", "seen", "do not", overridable=True)
WALL = blocker("wall", "it cannot work", "seen", "do not")
HINT = warning("hint", "it may hurt", "seen", "look")
FACT = note("fact", "so it is", "seen", "nothing")


@pytest.mark.parametrize(
    ("found", "force", "left"),
    [
        ([HINT, FACT], False, []),
        ([HINT, RISK], False, [RISK]),
        ([HINT, RISK], True, []),
        ([RISK, WALL], True, [WALL]),
    ],
)
def test_force_goes_over_what_may_be_risked(found: list[Finding], force: bool, left: list[Finding]) -> None:
    assert standing(found, force=force) == left


def test_a_risk_names_the_flag_that_takes_it() -> None:
    assert "--force" in RISK.sentence
    assert "--force" not in WALL.sentence


def test_blockers_come_first() -> None:
    rules = (lambda case: iter([FACT, HINT]), lambda case: iter([WALL]))
    assert find(Case(a_move(), source(), destination()), rules) == (WALL, HINT, FACT)

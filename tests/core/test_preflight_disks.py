"""Checks of disks that go, or that should not: each rule fires for its own reason."""

from __future__ import annotations

import pytest

from godwit.core.case import Case
from godwit.core.migration import MigrationRequest
from godwit.core.model import MIB, DatastoreFacts, Disk, HostFacts, Lun, VmState
from godwit.core.plan import Move
from godwit.core.policy import Known
from godwit.core.preflight import find
from godwit.testing.world import SPEC, facts

from .test_preflight import HERE, a_move

ROOT = Disk(name="root", datastore="default", path="/datastore/root.raw", size_bytes=100 * MIB)


def store(name: str = "fast", **words: object) -> DatastoreFacts:
    told = {"name": name, "path": f"/{name}", "shared": False, "free_bytes": 1 << 40} | words
    return DatastoreFacts.model_validate(told)


def target(*mib: int) -> DatastoreFacts:
    luns = tuple(Lun(number=number, size_bytes=size * MIB, serial=str(number)) for number, size in enumerate(mib, 1))
    return store("san", kind="iscsi", path="iscsi://10.0.0.1/store", luns=luns)


def host(name: str, *stores: DatastoreFacts, state: VmState = VmState.running) -> HostFacts:
    vms = (HERE.model_copy(update={"state": state}),) if name == "host-a" else ()
    return facts(name).model_copy(update={"datastores": (*facts(name).datastores, *stores), "vms": vms})


def asked(**words: object) -> Move:
    request = MigrationRequest.model_validate({"vm": SPEC.name} | words)
    return a_move(disks=(ROOT,)).model_copy(update={"request": request})


def codes(move: Move, here: HostFacts, there: HostFacts) -> list[str]:
    return [each.code for each in find(Case(move, here, there))]


@pytest.mark.parametrize(
    ("move", "there", "code"),
    [
        (asked(disks={"root": "fast"}), store(writable=False), "datastore-read-only"),
        (asked(datastore="fast"), store(free_bytes=99 * MIB), "disk-full"),
        (asked(datastore="san"), target(64, 99), "no-unit"),
        (
            asked(datastore="san").model_copy(update={"known": Known(units=("iscsi://10.0.0.1/store/2",))}),
            target(64, 512),
            "no-unit",
        ),
        (asked(disks={"root": "fast", "data": "fast"}), store(), "disk-unknown"),
        (asked(datastore="slow"), store(), "datastore-missing"),
        (asked(post_copy=True), store(), "post-copy"),
    ],
)
def test_each_blocker_is_found_alone(move: Move, there: DatastoreFacts, code: str) -> None:
    assert codes(move, host("host-a"), host("host-b", there)) == [code]


@pytest.mark.parametrize(
    ("move", "there"),
    [
        (asked(), store(writable=False)),
        (asked(disks={"root": "fast"}), store(free_bytes=100 * MIB)),
        (asked(datastore="san"), target(64, 100)),
    ],
)
def test_what_is_in_order_is_not_found(move: Move, there: DatastoreFacts) -> None:
    assert codes(move, host("host-a"), host("host-b", there)) == []


def test_a_share_that_is_none() -> None:
    """Both hosts call it shared, and a file that one of them wrote is not there for the other."""

    def hosts(token: str) -> tuple[HostFacts, HostFacts]:
        own = [
            facts(name).model_copy(
                update={"datastores": (store("default", path="/datastore", shared=True, token=each),), "vms": vms}
            )
            for name, each, vms in (("host-a", "1", (HERE,)), ("host-b", token, ()))
        ]
        return own[0], own[1]

    assert codes(asked(), *hosts("2")) == ["datastore-differs"]
    assert codes(asked(), *hosts("1")) == []


def test_nothing_goes_of_a_vm_that_stays() -> None:
    def stays(**words: object) -> list[str]:
        return codes(asked(**words).model_copy(update={"destination": "host-a"}), here, here)

    here = host("host-a", store())
    assert stays(datastore="default") == ["nothing-to-move"]
    assert stays(datastore="fast") == []


def test_a_vm_that_is_to_be_off_is_off_or_may_be_shut_down() -> None:
    there = host("host-b")
    assert codes(asked(cold=True), host("host-a"), there) == ["vm-running"]
    assert codes(asked(cold=True, shut_down=True), host("host-a"), there) == []
    assert codes(asked(cold=True), host("host-a", state=VmState.stopped), there) == []

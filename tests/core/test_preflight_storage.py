"""What stands in the way of disks, in its own words: what is so, what was seen, and what to do about it."""

from __future__ import annotations

import pytest

from godwit.core.case import Case
from godwit.core.migration import MigrationRequest
from godwit.core.model import DatastoreFacts, Disk, Firmware, HostFacts, Lun, VmState, VmStatus
from godwit.core.plan import Move, disk_moves
from godwit.core.preflight import find
from godwit.testing.world import PINNED, SPEC, facts

MIB = 1 << 20
DATA = Disk(name="data", datastore="local", path="/local/web-1/data.raw", size_bytes=64 * MIB)
LOG = DATA.model_copy(update={"name": "log", "path": "/local/web-1/log.raw"})
SEED = DATA.model_copy(update={"name": "cloud-init", "path": "/local/web-1/cloud-init.raw", "read_only": True})
VARIABLES = DATA.model_copy(update={"name": "uefi-variables", "path": "/local/web-1/uefi-variables.raw"})
UNIT = DATA.model_copy(update={"datastore": "san", "path": "iscsi://10.0.9.5/iqn.2026-11.example:store/1"})
HERE = VmStatus(name=SPEC.name, state=VmState.running, owned=True)


def store(name: str, *, free_mib: int = 1000, **more: object) -> DatastoreFacts:
    words = {"path": f"/{name}", "shared": False, "free_bytes": free_mib * MIB} | more
    return DatastoreFacts(name=name, **words)


def san(*luns: tuple[int, int, str]) -> DatastoreFacts:
    units = tuple(Lun(number=number, size_bytes=mib * MIB, serial=serial) for number, mib, serial in luns)
    token = " ".join(each.serial for each in units)
    path = "iscsi://10.0.9.5/iqn.2026-11.example:store"
    return store("san", kind="iscsi", path=path, shared=True, luns=units, token=token)


def case(
    *disks: Disk,
    here: tuple[DatastoreFacts, ...],
    there: tuple[DatastoreFacts, ...],
    host: str = "host-b",
    **asked: object,
) -> Case:
    move = Move(
        migration="m1",
        attempt=1,
        epoch=1,
        spec=SPEC.model_copy(update={"disks": disks}),
        pinned=PINNED,
        source="host-a",
        destination=host,
        request=MigrationRequest(vm=SPEC.name, **asked),
    )
    return Case(move, _host("host-a", here, vms=(HERE,)), _host(host, there, vms=(HERE,) if host == "host-a" else ()))


def _host(name: str, stores: tuple[DatastoreFacts, ...], **more: object) -> HostFacts:
    return facts(name).model_copy(update={"datastores": stores, **more})


LOCAL, FAST = store("local"), store("fast")
ONE, OTHER = san((1, 64, "a")), san((1, 64, "b"))


@pytest.mark.parametrize(
    ("found_in", "code", "says"),
    [
        (case(DATA, here=(LOCAL,), there=()), "datastore-missing", "take its disks along with --datastore NAME"),
        (case(SEED, here=(LOCAL,), there=(LOCAL,)), "datastore-local", "take its disks along with --datastore NAME"),
        (case(DATA, here=(LOCAL,), there=(LOCAL,)), "datastore-local", "its files would stay behind"),
        (
            case(
                DATA,
                here=(store("local", shared=True, token="a"),),
                there=(store("local", shared=True, token="b"),),
            ),
            "datastore-differs",
            "see different files there",
        ),
        (case(UNIT, here=(ONE,), there=()), "datastore-missing", "does not see datastore 'san'"),
        (case(UNIT, here=(), there=(ONE,)), "datastore-missing", "it has not looked yet: wait a moment"),
        (case(UNIT, here=(ONE,), there=(OTHER,)), "datastore-differs", "see different files there"),
        (case(DATA, here=(LOCAL,), there=(LOCAL,), datastore="fast"), "datastore-missing", "sees local"),
        (
            case(DATA, here=(LOCAL,), there=(store("fast", writable=False),), datastore="fast"),
            "datastore-read-only",
            "mount it for writing",
        ),
        (
            case(DATA, LOG, here=(LOCAL,), there=(store("fast", free_mib=100),), datastore="fast"),
            "disk-full",
            "100 MiB free, data, log need 128 MiB",
        ),
        (
            case(DATA, here=(LOCAL,), there=(san((1, 63, "a")),), datastore="san"),
            "no-unit",
            "it needs 64 MiB, and iscsi://10.0.9.5/iqn.2026-11.example:store has 1: 63 MiB",
        ),
        (case(DATA, LOG, here=(LOCAL,), there=(ONE,), datastore="san"), "no-unit", "for disk log of web-1"),
        (case(DATA, here=(LOCAL,), there=(LOCAL,), disks={"dtaa": "local"}), "disk-unknown", "it has data"),
        (
            case(DATA, here=(LOCAL,), there=(LOCAL,), host="host-a", datastore="local"),
            "nothing-to-move",
            "where they shall be",
        ),
    ],
)
def test_it_is_found_and_says_what_to_do(found_in: Case, code: str, says: str) -> None:
    told = {each.code: f"{each.sentence}; {each.evidence}; {each.remedy}" for each in find(found_in)}

    assert code in told
    assert says in told[code]


@pytest.mark.parametrize(
    "found_in",
    [
        case(DATA, LOG, here=(LOCAL,), there=(FAST,), datastore="fast"),
        case(DATA, here=(LOCAL,), there=(san((1, 65, "a")),), datastore="san"),
        case(UNIT, here=(ONE,), there=(ONE,)),
        case(UNIT, here=(ONE,), there=(FAST,), datastore="fast"),
        case(DATA, here=(LOCAL, FAST), there=(LOCAL, FAST), host="host-a", datastore="fast"),
    ],
)
def test_nothing_stands_in_the_way(found_in: Case) -> None:
    assert find(found_in) == ()


def test_what_only_the_source_sees_is_taken_along_when_that_is_asked_for() -> None:
    """Its disks, the volume for cloud-init, and the variables of UEFI."""
    found = case(DATA, SEED, here=(LOCAL,), there=(FAST,), datastore="fast", format="qcow2")
    spec = found.move.spec.model_copy(update={"firmware": Firmware(variables=VARIABLES)})
    move = found.move.model_copy(update={"spec": spec})

    assert [each.to.path for each in disk_moves(move, found.source, found.destination)] == [
        "/fast/web-1/data.qcow2",
        "/fast/web-1/cloud-init.raw",
        "/fast/web-1/uefi-variables.qcow2",
    ]

"""Checks: each rule fires for its own reason, and for no other."""

from __future__ import annotations

from dataclasses import replace

import pytest

from godwit.core.case import Case
from godwit.core.errors import Refused
from godwit.core.finding import Finding, Severity, blocker, note, refuse, standing, warning
from godwit.core.forecast import Measured
from godwit.core.looked import Claim, FileLook, Heard, Looked, NodeLook, SegmentLook, VmLook
from godwit.core.migration import Compress, MigrationRequest
from godwit.core.model import DatastoreFacts, Disk, Firmware, HostFacts, UefiFacts, VmState, VmStatus
from godwit.core.plan import PACKETS_BYTES_PER_S, Move, make
from godwit.core.policy import Known, Policy
from godwit.core.preflight import find
from godwit.core.report import Forecast
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


def test_buffers_grow_with_the_link_within_bounds() -> None:
    def of(link_bytes_per_s: int) -> int:
        measured = Measured(link_bytes_per_s=link_bytes_per_s)
        return make(a_move(), source(), destination(), measured=measured).buffer_bytes // 1024

    assert [of(rate) for rate in (0, 117_000_000, 400_000_000, 3_000_000_000)] == [256, 256, 781, 1024]


@pytest.mark.parametrize(
    ("limit", "compress", "multifd"),
    [
        (PACKETS_BYTES_PER_S, Compress.auto, True),
        (PACKETS_BYTES_PER_S - 1, Compress.auto, False),
        (PACKETS_BYTES_PER_S - 1, Compress.zstd, True),
    ],
)
def test_a_low_limit_is_not_exceeded_by_packets_of_many_pages(limit: int, compress: Compress, multifd: bool) -> None:
    request = MigrationRequest(vm=SPEC.name, bandwidth_bytes_per_s=limit, compress=compress)

    assert make(a_move().model_copy(update={"request": request}), source(), destination()).multifd is multifd


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
        (a_move(disks=(DISK,)), source(), destination(datastores=(nowhere(shared=True),)), "datastore-missing"),
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


def known(**facts: object) -> Case:
    return Case(a_move().model_copy(update={"known": Known(**facts)}), source(), destination())


def looked(**looks: object) -> Case:
    return Case(a_move(disks=(DISK,)), *sharing(), Looked(**looks))


def sharing() -> tuple[HostFacts, HostFacts]:
    both = {"datastores": (nowhere(shared=True), *source().datastores)}
    return source(**both), destination(**both)


def segment(heard: str | None, *, bytes: int = 1514, mtu: int = 1500, **more: object) -> tuple[SegmentLook, ...]:
    frames = (Heard(host=heard, bytes=bytes, vlan=more.pop("vlan", None)),) if heard else ()
    words = {"network": "lan", "bridge": "br0", "mtu": mtu, "uplinks": ("eth0",), "heard": frames} | more
    return (SegmentLook(**words),)


def segments(here: tuple[SegmentLook, ...], there: tuple[SegmentLook, ...]) -> Case:
    return looked(source_segments=here, destination_segments=there)


def file(path: str, size_bytes: int | None, inode: int | None = 7) -> tuple[FileLook, ...]:
    return (FileLook(path=path, size_bytes=size_bytes, inode=inode),)


def files(here: tuple[FileLook, ...], there: tuple[FileLook, ...]) -> Case:
    return looked(source_files=here, destination_files=there)


def node(**words: bool) -> Case:
    modes = {"direct": True, "flushes": True, "writable": True} | words
    return looked(vm=VmLook(nodes=(NodeLook(path=DISK.path, **modes),)))


def measured(link_bytes_per_s: int, resent: float = 0.0) -> Case:
    found = Measured(link_bytes_per_s=link_bytes_per_s, resent=resent)
    return Case(a_move(), source(), destination(), measured=found)


def told(vm: VmLook, **words: float) -> Case:
    request = MigrationRequest(vm=SPEC.name, **words)
    return Case(a_move().model_copy(update={"request": request}), source(), destination(), Looked(vm=vm))


def hosts(here: dict[str, object], there: dict[str, object]) -> Case:
    return Case(a_move(), source(**here), destination(**there))


ROOT, KERNEL = DISK.path, SPEC.image.kernel
SAID = segment("host-a")
NEWER: dict[str, object] = {"qemu": QEMU.model_copy(update={"version": "10.0.2"})}


@pytest.mark.parametrize(
    ("case", "code", "evidence"),
    [
        (known(policy=Policy(never_migrate=True)), "never-migrate", "rule never-migrate"),
        (known(policy=Policy(keep_apart=("db",)), neighbours=("db-2",)), "keep-apart", "keep-apart=db"),
        (known(policy=Policy(max_stall_ms=100)), "max-stall", "--max-blackout allows 300 ms"),
        (known(sharers=("db-2",)), "clustered-disk", "db-2"),
        (known(recent_moves=3), "moved-often", "3 times"),
        (hosts(NEWER, {}), "qemu-older", "7.2.0 and 10.0.2"),
        (hosts({}, {"load": 2.5}), "host-overloaded", "2.5 processes"),
        (hosts({"unix_ms": 0.0}, {"unix_ms": 9000.0}), "clocks-apart", "9 s"),
        (segments(segment(None), segment(None)), "network-unreachable", "nor from host-a to host-b"),
        (segments(segment(None), segment(None, uplinks=())), "network-unreachable", "br0 on host-b has no port"),
        (segments(segment("host-b"), segment(None)), "network-one-way", "no probe frame arrived from host-a to host-b"),
        (segments(segment(None), SAID), "network-one-way", "no probe frame arrived from host-b to host-a"),
        (segments(segment("host-b", vlan=120), SAID), "network-tagged", "tag 120"),
        (segments(segment("host-b", bytes=60), segment("host-a", bytes=60)), "network-mtu", "frames of 46 bytes"),
        (segments(segment("host-b", bytes=1414), segment("host-a", mtu=1400)), "network-mtu", "MTU 1500 and 1400"),
        (segments(segment("host-b"), segment("host-a", has_stp=True)), "network-stp", "STP is on at br0"),
        (segments(segment("host-b", is_programmed=True), SAID), "network-flows", "more than the one"),
        (segments(segment("host-b"), segment("host-a", is_programmed=True)), "network-flows", "more than the one"),
        (
            segments(segment("host-b", claims=(Claim(ip="10.0.0.1", mac="02:00:00:00:00:01"),)), SAID),
            "ip-conflict",
            "02:00:00:00:00:01",
        ),
        (segments(segment("host-b"), segment("host-a", returned=("bond0",))), "network-reflected", "of host-b itself"),
        (files(file(ROOT, 5), file(ROOT, None)), "file-missing", "5 bytes"),
        (files(file(KERNEL, 5), file(KERNEL, None)), "file-missing", "5 bytes"),
        (files(file(ROOT, 5), file(ROOT, 5, inode=8)), "file-differs", "inode 7"),
        (files(file(ROOT, 5), file(ROOT, 6)), "file-differs", "6"),
        (files(file(KERNEL, 5), file(KERNEL, 6)), "image-differs", "6 bytes there"),
        (measured(20_000_000), "link-slow", "160 Mbit/s"),
        (measured(117_000_000, resent=0.02), "link-lossy", "2.0 %"),
        (looked(vm=VmLook(blocked=("vfio: no",))), "device-stays", "vfio: no"),
        (node(flushes=False), "cache-unsafe", DISK.path),
        (node(direct=False), "cache-buffered", DISK.path),
        (looked(vm=VmLook(swapped_mib=100)), "memory-swapped", "100 MiB"),
        (looked(vm=VmLook(has_guest_agent=False)), "guest-agent-absent", "org.qemu.guest_agent.0"),
        (looked(vm=VmLook(guest_agent_lacks=("guest-set-time",))), "guest-agent-old", "guest-set-time"),
        (told(VmLook(guest_agent_lacks=("guest-exec",)), notify_s=5.0), "guest-agent-old", "guest-exec"),
        (looked(failures=("files at the source: no answer in time",)), "not-looked", "no answer in time"),
    ],
)
def test_each_thing_is_found_alone(case: Case, code: str, evidence: str) -> None:
    (found,) = find(case)

    assert found.code == code
    assert evidence in found.evidence


@pytest.mark.parametrize(
    "case",
    [
        known(policy=Policy(keep_apart=("db",), max_stall_ms=300), recent_moves=2),
        hosts({}, NEWER | {"load": 2.0}),
        hosts({"unix_ms": 0.0}, {"unix_ms": 1500.0}),
        segments(segment("host-b"), SAID),
        segments(segment("host-b", returned=("bond0",)), SAID),
        segments(segment("host-b"), segment("host-a", mtu=9000)),
        segments(segment("host-b", bytes=9014), segment("host-a", mtu=9000)),
        segments(segment(None), ()),
        files(file(ROOT, 5), file(ROOT, 5)),
        files(file(KERNEL, 5, inode=7), file(KERNEL, 5, inode=8)),
        files(file(ROOT, 5), ()),
        measured(0),
        measured(117_000_000),
        replace(known(movers=("db",)), measured=measured(20_000_000).measured),
        node(),
        node(writable=False, direct=False, flushes=False),
        looked(vm=VmLook(swapped_mib=1)),
        looked(vm=VmLook(guest_agent_lacks=("guest-exec",))),
        told(VmLook(guest_agent_lacks=("guest-info",)), notify_s=5.0),
        measured(117_000_000, resent=0.009),
    ],
)
def test_what_is_in_order_is_not_found(case: Case) -> None:
    assert find(case) == ()


def test_a_clustered_disk_stays() -> None:
    clustered = DISK.model_copy(update={"clustered": True})
    assert codes(Case(a_move(disks=(clustered,)), *sharing())) == ["clustered-disk"]


def test_a_stall_that_is_predicted_counts_as_one_that_is_allowed() -> None:
    move = known(policy=Policy(max_stall_ms=300)).move
    cases = {ms: Case(move, source(), destination(), forecast=Forecast(blackout_ms=ms)) for ms in (299.0, 301.0)}

    assert codes(cases[299.0]) == []
    assert codes(cases[301.0]) == ["max-stall"]


def test_missing_features_are_named() -> None:
    lacking = QEMU.model_copy(update={"cpu_models": (), "cpu_lacks": {PINNED.cpu_model: ("sse4.2", "popcnt")}})
    (found,) = find(Case(a_move(), source(), destination(qemu=lacking)))

    assert "sse4.2, popcnt" in found.evidence

"""The command line is a pure function, and the two sides of a migration differ in nothing that a memory image names."""

from __future__ import annotations

import itertools
import json
from dataclasses import replace
from ipaddress import IPv4Interface, IPv6Interface
from pathlib import Path
from typing import Any

import pytest

from godwit.core.errors import Invalid
from godwit.core.model import Accelerator, Disk, DiskFormat, Firmware, Image, Nic, Pinned, VmSpec
from godwit.qemu.cmdline import MAX_DISKS, MAX_NICS, Launch, argv

SPEC = VmSpec(
    name="redis",
    uuid="6f1c7d7e-0f3f-4a55-8f2e-0123456789ab",
    memory_mib=512,
    cpus=2,
    image=Image(name="base", kernel="/images/vmlinuz", initrd="/images/initrd", cmdline="console=ttyS0"),
    nics=(
        Nic(network="lan", mac="52:54:00:00:00:01", ip=IPv4Interface("10.90.0.100/24")),
        Nic(network="san", mac="52:54:00:00:00:02", ip6=IPv6Interface("fd00::5/64")),
    ),
    disks=(Disk(name="root", datastore="shared", path="/disks/a,b.raw", size_bytes=1024),),
)
LAUNCH = Launch(
    binary="qemu-system-x86_64",
    firmware_dir=None,
    run_dir=Path("/run/godwit/redis"),
    spec=SPEC,
    pinned=Pinned(machine="pc-q35-7.2", cpu_model="Nehalem-v1", accelerator=Accelerator.tcg),
    tap_fds=((11,), (12,)),
)


def values(words: list[str], option: str) -> list[str]:
    return [value for name, value in itertools.pairwise(words) if name == option]


def devices(launch: Launch) -> dict[str, dict[str, Any]]:
    return {each["id"]: each for each in map(json.loads, values(argv(launch), "-device"))}


def test_source_and_destination_differ_only_in_waiting() -> None:
    assert argv(replace(LAUNCH, incoming=True)) == [*argv(LAUNCH), "-S", "-incoming", "defer"]


def test_the_stream_has_no_description_after_its_end_mark() -> None:
    (machine,) = values(argv(LAUNCH), "-machine")

    assert machine.split(",")[0] == "pc-q35-7.2"
    assert "suppress-vmdesc=on" in machine.split(",")


def test_every_pci_device_has_its_own_fixed_address_and_no_rom() -> None:
    slots = {name: each["addr"] for name, each in devices(LAUNCH).items() if "addr" in each}

    assert slots == {"nic0": "02.0", "nic1": "03.0", "block0": "0a.0", "ports": "1c.0", "random": "1d.0"}
    assert devices(LAUNCH)["nic0"]["romfile"] == ""


def test_the_guest_is_told_its_addresses() -> None:
    assert values(argv(LAUNCH), "-append") == [
        "console=ttyS0 ip=10.90.0.100:::255.255.255.0:redis:eth0:off godwit.ip6=fd00::5/64"
    ]


def test_taps_are_descriptors() -> None:
    assert values(argv(LAUNCH), "-netdev") == ["tap,id=tap0,fd=11,vhost=off", "tap,id=tap1,fd=12,vhost=off"]


def test_disks_bypass_the_page_cache_and_are_locked() -> None:
    (node,) = map(json.loads, values(argv(LAUNCH), "-blockdev"))

    assert node["file"] == {
        "driver": "file",
        "filename": "/disks/a,b.raw",
        "locking": "on",
        "cache": {"direct": True},
        "discard": "unmap",
    }


def test_a_read_only_disk_is_read_only_at_every_layer() -> None:
    seed = SPEC.disks[0].model_copy(update={"read_only": True})
    (node,) = map(
        json.loads, values(argv(replace(LAUNCH, spec=SPEC.model_copy(update={"disks": (seed,)}))), "-blockdev")
    )

    assert node["read-only"] is node["file"]["read-only"] is True


def test_without_a_kernel_the_first_disk_boots() -> None:
    disks = (SPEC.disks[0].model_copy(update={"format": DiskFormat.qcow2}), SPEC.disks[0])
    image = replace(LAUNCH, spec=SPEC.model_copy(update={"image": Image(name="/a.qcow2"), "disks": disks}))

    assert "-kernel" not in argv(image)
    assert [devices(image)[name].get("bootindex") for name in ("block0", "block1")] == [1, None]
    assert [json.loads(each)["driver"] for each in values(argv(image), "-blockdev")] == ["qcow2", "raw"]
    assert "bootindex" not in devices(LAUNCH)["block0"]


def test_uefi_is_two_flash_chips_of_which_one_is_written() -> None:
    firmware = Firmware(variables=SPEC.disks[0].model_copy(update={"path": "/disks/variables.raw"}))
    uefi = replace(LAUNCH, spec=SPEC.model_copy(update={"firmware": firmware, "disks": ()}), uefi_code="/ovmf/code.fd")
    code, variables = map(json.loads, values(argv(uefi), "-blockdev"))

    assert values(argv(uefi), "-machine")[0].endswith(",pflash0=uefi-code,pflash1=uefi-variables")
    assert (code["file"]["filename"], code["read-only"]) == ("/ovmf/code.fd", True)
    assert (variables["file"]["filename"], variables["file"]["locking"]) == ("/disks/variables.raw", "on")
    assert "read-only" not in variables


def test_two_monitors_and_no_way_to_start_programs() -> None:
    words = argv(LAUNCH)

    assert values(words, "-mon") == ["chardev=control,mode=control", "chardev=events,mode=control"]
    assert "spawn=deny" in values(words, "-sandbox")[0].split(",")


def test_a_comma_in_the_run_directory_is_escaped() -> None:
    words = argv(replace(LAUNCH, run_dir=Path("/run/a,b")))

    assert "socket,id=control,path=/run/a,,b/qmp.sock,server=on,wait=off" in values(words, "-chardev")


def test_a_cpu_that_lacks_a_feature_is_refused_rather_than_changed() -> None:
    assert values(argv(LAUNCH), "-cpu") == ["Nehalem-v1,enforce"]


@pytest.mark.parametrize(
    "spec",
    [
        SPEC.model_copy(update={"nics": SPEC.nics[:1] * (MAX_NICS + 1)}),
        SPEC.model_copy(update={"disks": SPEC.disks * (MAX_DISKS + 1)}),
    ],
)
def test_more_devices_than_slots_are_refused(spec: VmSpec) -> None:
    with pytest.raises(Invalid, match="too many devices"):
        argv(replace(LAUNCH, spec=spec))


@pytest.mark.parametrize("tap_fds", [(), ((11,),), ((11, 12), (13, 14))])
def test_each_nic_needs_one_tap_queue(tap_fds: tuple[tuple[int, ...], ...]) -> None:
    with pytest.raises(Invalid, match="one tap queue"):
        argv(replace(LAUNCH, tap_fds=tap_fds))


def test_the_largest_vm_has_no_two_devices_in_one_slot() -> None:
    nics, disks = SPEC.nics[:1] * MAX_NICS, SPEC.disks * MAX_DISKS
    full = replace(
        LAUNCH,
        spec=SPEC.model_copy(update={"nics": nics, "disks": disks}),
        tap_fds=tuple((n,) for n in range(MAX_NICS)),
    )
    slots = [each["addr"] for each in devices(full).values() if "addr" in each]

    assert len(slots) == len(set(slots)) == MAX_NICS + MAX_DISKS + 2
    assert "1f.0" not in slots  # the chipset's own

"""Where VMs start and what they are pinned to."""

from __future__ import annotations

import pytest

from godwit.core.errors import Refused
from godwit.core.model import Accelerator, HostFacts, UefiFacts
from godwit.core.placement import Needs, choose_host, pin
from godwit.testing.world import facts


def with_qemu(host: HostFacts, **changes: object) -> HostFacts:
    return host.model_copy(update={"qemu": host.qemu.model_copy(update=changes)})


def test_a_vm_is_pinned_to_the_newest_that_all_have() -> None:
    old = facts("host-a")
    new = with_qemu(
        facts("host-b"),
        machines=("pc-q35-10.0", "pc-q35-9.2", "pc-q35-7.2", "pc-q35-7.1"),
        cpu_models=("Haswell-v4", "Nehalem-v2", "Nehalem-v1", "qemu64-v1"),
    )

    assert pin([old, new], first="host-a") == pin([new, old], first="host-b")
    assert pin([old, new], first="host-a").machine == "pc-q35-7.2"
    assert pin([old, new], first="host-a").cpu_model == "Nehalem-v1"
    assert pin([new], first="host-b").cpu_model == "Haswell-v4"


def test_hosts_with_another_accelerator_do_not_count() -> None:
    kvm = with_qemu(facts("host-b"), accelerator=Accelerator.kvm, machines=("pc-q35-10.0",))

    assert pin([facts("host-a"), kvm], first="host-a").machine == "pc-q35-7.2"
    assert pin([facts("host-a"), kvm], first="host-b").accelerator == Accelerator.kvm


def test_nothing_in_common_is_refused() -> None:
    odd = with_qemu(facts("host-b"), machines=("pc-q35-10.0",))

    with pytest.raises(Refused, match="no machine type is common"):
        pin([facts("host-a"), odd], first="host-a")


def test_the_emptiest_host_with_the_networks_is_chosen() -> None:
    hosts = [facts("host-a", memory_mib=1024), facts("host-b", memory_mib=4096), facts("host-c", memory_mib=8192)]
    hosts[2] = hosts[2].model_copy(update={"networks": ("dmz",)})

    needs = Needs(memory_mib=512, networks=("lan",))

    assert choose_host(needs, hosts) == "host-b"
    assert choose_host(needs, hosts, exclude="host-b") == "host-a"
    with pytest.raises(
        Refused, match="host-a has 1024 MiB free, host-b has 4096 MiB free, host-c has no network 'lan'"
    ):
        choose_host(needs.model_copy(update={"memory_mib": 9000}), hosts)
    with pytest.raises(Refused, match="no other host answers"):
        choose_host(needs, hosts[:1], exclude="host-a")


def test_a_host_whose_qemu_gives_no_vm_so_many_cpus_is_none() -> None:
    small, unknown = with_qemu(facts("host-a"), most_cpus=255), facts("host-b")
    needs = Needs(memory_mib=512, cpus=256)

    assert choose_host(needs, [small, unknown]) == "host-b"
    told = "needs 512 MiB and 256 CPUs: QEMU of host-a gives no VM more than 255 CPUs; ask for less, or add a host"
    with pytest.raises(Refused, match=told):
        choose_host(needs, [small])
    assert choose_host(needs.model_copy(update={"cpus": 255}), [small]) == "host-a"


def test_a_host_without_the_datastore_or_the_firmware_is_none() -> None:
    plain = facts("host-a")
    uefi = UefiFacts(code="/code", variables="/variables", code_bytes=1)
    able = facts("host-b", memory_mib=1024).model_copy(update={"uefi": uefi})
    diskless = facts("host-c", memory_mib=4096).model_copy(update={"datastores": (), "uefi": uefi})

    assert choose_host(Needs(memory_mib=512), [plain, able, diskless]) == "host-c"
    assert choose_host(Needs(memory_mib=512, datastores=("default",)), [plain, able, diskless]) == "host-a"
    needs = Needs(memory_mib=512, datastores=("default",), uefi=True)
    assert choose_host(needs, [plain, able, diskless]) == "host-b"
    with pytest.raises(Refused, match=r"host-a has no UEFI firmware .package ovmf., host-c does not see datastore"):
        choose_host(needs, [plain, diskless])


def test_a_cpu_model_that_is_named_must_run_everywhere() -> None:
    poor = with_qemu(facts("host-b"), cpu_models=("qemu64-v1",))
    rich = with_qemu(facts("host-c"), cpu_models=("Nehalem-v2", "Nehalem-v1", "qemu64-v1"))
    hosts = [facts("host-a"), rich]

    assert pin(hosts, first="host-a", cpu_model="Nehalem").cpu_model == "Nehalem-v1"
    assert pin([rich], first="host-c", cpu_model="Nehalem").cpu_model == "Nehalem-v2"
    assert pin(hosts, first="host-a", cpu_model="qemu64-v1").cpu_model == "qemu64-v1"
    with pytest.raises(Refused, match="CPU model Nehalem cannot run on host-b: "):
        pin([*hosts, poor], first="host-a", cpu_model="Nehalem")
    with pytest.raises(Refused, match="CPU model Nehalem-v2 cannot run on host-a: "):
        pin(hosts, first="host-a", cpu_model="Nehalem-v2")

"""Where VMs start and what they are pinned to."""

from __future__ import annotations

import pytest

from godwit.core.errors import Refused
from godwit.core.model import Accelerator, HostFacts
from godwit.core.placement import choose_host, pin
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

    assert choose_host(512, ["lan"], hosts) == "host-b"
    assert choose_host(512, ["lan"], hosts, exclude="host-b") == "host-a"
    with pytest.raises(Refused, match="host-a has 1024 MiB free"):
        choose_host(9000, ["lan"], hosts)

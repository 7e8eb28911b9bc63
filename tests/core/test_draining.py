"""Where the VMs of a host go: the largest first, where most memory is left, each once or with a reason."""

from __future__ import annotations

from godwit.core.draining import Leaving, allot
from godwit.core.model import HostFacts, VmState
from godwit.testing.world import facts


def leaving(name: str, memory_mib: int, state: VmState = VmState.running) -> Leaving:
    return Leaving(vm=name, state=state, memory_mib=memory_mib)


def fits(sizes: dict[str, int]):  # type: ignore[no-untyped-def]
    def why(vm: str, host: HostFacts) -> str | None:
        return None if sizes[vm] <= host.memory_free_mib else f"{host.host} has {host.memory_free_mib} MiB free"

    return why


def test_the_largest_is_placed_first_and_order_is_kept() -> None:
    hosts = [facts("host-b", memory_mib=1000), facts("host-c", memory_mib=1500)]
    sizes = {"a": 400, "b": 1200, "c": 500}

    plan = allot([leaving(name, size) for name, size in sizes.items()], hosts, fits(sizes))

    assert [(each.vm, each.destination) for each in plan] == [("a", "host-b"), ("b", "host-c"), ("c", "host-b")]


def test_what_fits_nowhere_says_why() -> None:
    sizes = {"a": 700, "b": 600}

    plan = allot([leaving("a", 700), leaving("b", 600)], [facts("host-b", memory_mib=1000)], fits(sizes))

    assert [(each.destination, each.why) for each in plan] == [("host-b", None), (None, "host-b has 300 MiB free")]


def test_only_running_vms_go() -> None:
    plan = allot([leaving("a", 1, VmState.stopped)], [facts("host-b")], fits({"a": 1}))

    assert (plan[0].can_go, plan[0].why) == (False, "it is stopped: only a running VM is moved")


def test_without_other_hosts_nothing_goes() -> None:
    assert allot([leaving("a", 1)], [], fits({}))[0].why == "no other host is there to take it"


def test_what_is_on_its_way_goes_on_and_is_counted_once() -> None:
    going = leaving("a", 600, VmState.migrating).model_copy(update={"destination": "host-b", "migration": "m1"})

    plan = allot([going, leaving("b", 900)], [facts("host-b", memory_mib=1000)], fits({"b": 900}))

    assert (plan[0], plan[1].destination) == (going, "host-b")

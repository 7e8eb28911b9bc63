"""What goes along with a VM: told once, known from when it runs there, gone again if it does not come."""

from __future__ import annotations

import asyncio
from ipaddress import ip_address
from types import SimpleNamespace
from typing import Any, cast

import pytest

from godwit.agent import belongings
from godwit.agent.belongings import Packing, Unpacking
from godwit.agent.local import LocalVm, Plug
from godwit.contract.belongings import Belongings, Joined
from godwit.contract.host import Order, Peer
from godwit.core.errors import Failed, Unreachable
from godwit.network import linux_bridge
from godwit.network.groups import Group
from godwit.testing.world import SPEC

ORDER = Order(migration="m7", attempt=1, epoch=1, vm=SPEC.name)
GROUP = ip_address("239.1.2.3")
VM = cast(
    LocalVm,
    SimpleNamespace(
        name=SPEC.name,
        passport=SimpleNamespace(spec=SPEC, plugs=(Plug(tap="gw-vm", bridge="lan", mac="52:54:00:00:00:01"),)),
    ),
)


class Kernel:
    """Stands for network.flows and network.groups."""

    def __init__(self) -> None:
        self.known: list[bytes] = []
        self.groups: tuple[Group, ...] = ()
        self.liberal: set[bytes] = set()
        self.joined: list[str] = []
        self.open = 0

    async def of(self, _: Any) -> list[bytes]:
        return self.known

    async def of_port(self, _: str) -> tuple[Group, ...]:
        return self.groups

    async def add(self, flows: tuple[bytes, ...]) -> list[bytes]:
        added = [flow for flow in flows if flow not in self.known]
        self.known += added
        return added

    async def remove(self, flows: list[bytes]) -> None:
        self.known = [flow for flow in self.known if flow not in flows]

    async def be_liberal(self, flows: list[bytes], *, is_on: bool = True) -> None:
        self.liberal = self.liberal | set(flows) if is_on else self.liberal - set(flows)

    async def prepare_joining(self, tap: str, groups: list[Group]) -> Any:
        self.open += 1
        join = SimpleNamespace(close=self._close)
        return Call(lambda: self.joined.extend(f"{tap} {each.address}" for each in groups), join.close)

    def _close(self) -> None:
        self.open -= 1

    @staticmethod
    def name_of(flow: bytes) -> bytes:
        return flow[:3]


class Call:
    def __init__(self, do: Any, close: Any) -> None:
        self._do = do
        self.close = close

    def __call__(self) -> None:
        self._do()


@pytest.fixture
def kernel(monkeypatch: pytest.MonkeyPatch) -> Kernel:
    kernel = Kernel()
    monkeypatch.setattr(belongings, "flows", kernel)
    monkeypatch.setattr(linux_bridge, "groups", kernel)
    return kernel


class Destination:
    def __init__(self, error: Exception | None = None) -> None:
        self.told: list[Belongings] = []
        self._error = error

    async def take_belongings(self, told: Belongings) -> None:
        if self._error:
            raise self._error
        self.told.append(told)


def packing(peer: Destination) -> Packing:
    return Packing(VM, ORDER, cast(Peer, peer))


async def sent(packed: Packing, *, last: bool) -> None:
    if last:
        packed.send_last()
        packed.send_last()
        await packed.sent()
    else:
        await packed.send()


@pytest.mark.parametrize(("last", "joined"), [(False, 1), (True, 0)])
def test_the_second_time_only_flows_that_are_new_are_told(
    kernel: Kernel, monkeypatch: pytest.MonkeyPatch, last: bool, joined: int
) -> None:
    monkeypatch.setattr(belongings, "FRESH_S", 0.0)
    there = Destination()
    kernel.known, kernel.groups = [b"tcp, 9 s left"], (Group(GROUP),)
    packed = packing(there)
    asyncio.run(sent(packed, last=False))
    kernel.known = [b"tcp, 8 s left", b"udp, 9 s left"]
    asyncio.run(sent(packed, last=last))

    assert [each.flows for each in there.told] == [(b"tcp, 9 s left",), (b"udp, 9 s left",)]
    assert [len(each.joined) for each in there.told] == [1, joined]


def test_what_was_told_just_now_is_not_told_again(kernel: Kernel, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(belongings, "FRESH_S", 600.0)
    there = Destination()
    kernel.groups = (Group(GROUP),)
    packed = packing(there)
    asyncio.run(packed.send())
    asyncio.run(packed.send())

    assert len(there.told) == 1


def test_many_are_told_in_several_messages_and_nothing_in_none(kernel: Kernel) -> None:
    there = Destination()
    asyncio.run(packing(there).send())
    assert there.told == []

    kernel.known = [b"%03d" % number for number in range(1000)] + [b"and one more"]
    kernel.groups = (Group(GROUP),)
    asyncio.run(packing(there).send())

    assert [len(each.flows) for each in there.told] == [1000, 1]
    assert there.told[0].joined == (Joined(nic=0, group=GROUP),)


def test_sequence_numbers_are_minded_again_when_the_vm_stays(kernel: Kernel) -> None:
    kernel.known = [b"tcp"]
    packed = packing(Destination())
    asyncio.run(packed.send())
    assert kernel.liberal == {b"tcp"}

    asyncio.run(packed.undo())
    assert kernel.liberal == set()


@pytest.mark.parametrize("error", [Unreachable("gone"), Failed("an older godwit"), TimeoutError()])
def test_a_destination_that_takes_nothing_is_let_be(kernel: Kernel, error: Exception) -> None:
    kernel.known = [b"tcp"]

    asyncio.run(packing(Destination(error)).send())


def told(*flows: bytes, group: str = "239.1.2.3") -> Belongings:
    return Belongings(**ORDER.model_dump(), joined=(Joined(nic=0, group=ip_address(group)),), flows=flows)


def test_groups_are_joined_when_the_vm_comes_and_not_before(kernel: Kernel) -> None:
    unpacked = Unpacking(VM)
    asyncio.run(unpacked.take(told(group="239.9.9.9")))
    asyncio.run(unpacked.take(told()))
    assert (kernel.joined, kernel.open) == ([], 1)

    unpacked.commit()
    asyncio.run(unpacked.take(told()))
    unpacked.close()

    assert (kernel.joined, kernel.open) == (["gw-vm 239.1.2.3"], 0)


def test_undone_the_kernel_knows_what_it_knew_before(kernel: Kernel) -> None:
    kernel.known = [b"here before"]
    unpacked = Unpacking(VM)
    asyncio.run(unpacked.take(told(b"here before", b"new")))
    assert kernel.known == [b"here before", b"new"]

    asyncio.run(unpacked.undo())

    assert kernel.known == [b"here before"]

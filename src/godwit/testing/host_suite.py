"""What every pair of hosts must do, fake or real: run each of `SUITE` on a fresh pair."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from godwit.contract.disks import Blank, CreateDisk, GiveVm, PlaceDisks, RemoveDisk, TakeVm, UseDatastores
from godwit.contract.host import (
    Examine,
    Host,
    Nothing,
    Order,
    PrepareIncoming,
    PrepareOutgoing,
    Reserve,
    StartVm,
    StopVm,
    VmRef,
)
from godwit.core.errors import GodwitError, NotFound, Refused, Unresolved
from godwit.core.model import Datastore, Disk, DiskFormat, HostFacts, Pinned, VmSpec, VmState

SLOW_BYTES_PER_S = 1_000_000


@dataclass(frozen=True)
class Pair:
    """Two hosts that can reach each other, and a VM that can run on either."""

    source: Host
    destination: Host
    spec: VmSpec
    pinned: Pinned

    @property
    def start(self) -> StartVm:
        """The order to start the VM."""
        return StartVm(spec=self.spec, pinned=self.pinned)

    @property
    def ref(self) -> VmRef:
        """The VM by name."""
        return VmRef(name=self.spec.name)

    def order(self, migration: str = "m1") -> Order:
        """A first attempt to move it."""
        return Order(migration=migration, attempt=1, epoch=1, vm=self.spec.name)

    async def reserve(self, role: str, migration: str = "m1") -> None:
        """As the manager does."""
        host = self.source if role == "source" else self.destination
        words = self.order(migration).model_dump()
        await host.reserve(Reserve(**words, role=role, memory_mib=self.spec.memory_mib))

    async def outgoing(self, *, bandwidth_bytes_per_s: int | None = None) -> PrepareOutgoing:
        """What the source is told, but for where the destination listens."""
        destination = await self.destination.facts(Nothing())
        return PrepareOutgoing(
            **self.order().model_dump(),
            destination=destination.host,
            peer_address=destination.peer_address,
            destination_address=destination.migration_address,
            multifd=True,
            max_blackout_ms=1000,
            bandwidth_bytes_per_s=bandwidth_bytes_per_s,
        )

    async def prepare(self, *, bandwidth_bytes_per_s: int | None = None) -> None:
        """Both sides are ready to copy, so slowly if wanted that it does not end before it is undone."""
        source, words = await self.source.facts(Nothing()), self.order().model_dump()
        outgoing = await self.outgoing(bandwidth_bytes_per_s=bandwidth_bytes_per_s)
        await self.reserve("source")
        await self.reserve("destination")
        ready = await self.destination.prepare_incoming(
            PrepareIncoming(
                **words,
                spec=self.spec,
                pinned=self.pinned,
                source=source.host,
                source_peer_address=source.peer_address,
                source_address=source.migration_address,
                multifd=True,
            )
        )
        await self.source.prepare_outgoing(outgoing.model_copy(update={"uri": ready.uri}))

    async def undo(self) -> None:
        """As the story does, in its order."""
        order = self.order()
        await self.source.abort_outgoing(order)
        await self.destination.abort_incoming(order)
        await asyncio.gather(self.source.release(order), self.destination.release(order))

    async def copy(self) -> int:
        """Copies, and counts what was told."""
        return len([event async for event in self.source.copy(self.order())])


async def a_vm_starts_and_stops(pair: Pair) -> None:
    """And takes its memory only meanwhile."""
    before = await pair.source.facts(Nothing())
    status = await pair.source.start_vm(pair.start)
    during = await pair.source.facts(Nothing())
    stopped = await pair.source.stop_vm(StopVm(name=pair.spec.name, grace_s=0))
    after = await pair.source.facts(Nothing())

    assert (status.state, status.owned) == (VmState.running, True)
    assert [vm.name for vm in during.vms] == [pair.spec.name]
    assert during.memory_free_mib == before.memory_free_mib - pair.spec.memory_mib
    assert stopped.state == VmState.stopped
    assert (after.vms, after.memory_free_mib) == ((), before.memory_free_mib)


async def a_vm_is_started_once(pair: Pair) -> None:
    """The second order is refused and disturbs nothing."""
    first = await pair.source.start_vm(pair.start)
    await _raises(Refused, pair.source.start_vm(pair.start))

    assert await pair.source.vm_status(pair.ref) == first


async def an_unknown_vm_is_not_found(pair: Pair) -> None:
    """By whatever verb."""
    await _raises(NotFound, pair.source.vm_status(pair.ref))
    await _raises(NotFound, pair.source.stop_vm(StopVm(name=pair.spec.name)))
    await _raises(NotFound, pair.reserve("source"))


async def memory_is_promised_once(pair: Pair) -> None:
    """What is reserved is not free; released, it is again; both twice without harm."""
    before = await pair.destination.facts(Nothing())
    for _ in range(2):
        await pair.reserve("destination")
    during = await pair.destination.facts(Nothing())
    for _ in range(2):
        await pair.destination.release(pair.order())

    assert during.memory_free_mib == before.memory_free_mib - pair.spec.memory_mib
    assert (await pair.destination.facts(Nothing())).memory_free_mib == before.memory_free_mib


async def one_migration_at_a_time(pair: Pair) -> None:
    """A VM that one migration moves is refused to another, and cannot be stopped."""
    await pair.source.start_vm(pair.start)
    await pair.reserve("source")

    await _raises(Refused, pair.reserve("source", "m2"))
    await _raises(Refused, pair.source.stop_vm(StopVm(name=pair.spec.name, grace_s=0)))
    await pair.source.release(pair.order("m2"))
    await _raises(Refused, pair.reserve("source", "m2"))


async def too_much_memory_is_refused(pair: Pair) -> None:
    """With nothing left behind."""
    free = (await pair.destination.facts(Nothing())).memory_free_mib
    big = pair.spec.model_copy(update={"memory_mib": free + 1})

    await _raises(Refused, pair.destination.start_vm(StartVm(spec=big, pinned=pair.pinned)))
    assert (await pair.destination.facts(Nothing())).vms == ()


async def a_vm_moves(pair: Pair) -> None:
    """From one to the other; each order is repeated, as after a lost answer."""
    before = await pair.destination.facts(Nothing())
    await pair.source.start_vm(pair.start)
    await pair.prepare()
    await pair.prepare()
    assert await pair.copy() > 0

    handed = await pair.source.hand_over(pair.order())
    again = await pair.source.hand_over(pair.order())
    settled = await pair.destination.settle(pair.order())
    await pair.source.retire(pair.order())
    await pair.source.retire(pair.order())

    assert (again.stopped_at_ms, again.resumed_at_ms) == (handed.stopped_at_ms, handed.resumed_at_ms)
    assert settled.announcements
    there = await pair.destination.vm_status(pair.ref)
    assert (there.state, there.owned) == (VmState.running, True)
    await _raises(NotFound, pair.source.vm_status(pair.ref))
    _is_clean(await pair.source.facts(Nothing()), free=None)
    after = await pair.destination.facts(Nothing())
    assert after.memory_free_mib == before.memory_free_mib - pair.spec.memory_mib


async def a_relay_is_laid_and_taken_up(pair: Pair) -> None:
    """Before the destination is ready; what was laid is used then, or is gone when the room is given up."""
    await pair.source.start_vm(pair.start)
    for _ in range(2):
        await pair.reserve("source")
        for _ in range(2):
            await pair.source.lay_relay(await pair.outgoing())
        await pair.source.release(pair.order())
    await pair.source.lay_relay(await pair.outgoing())
    await pair.prepare()
    await pair.undo()

    assert (await pair.source.examine(Examine())).found == ()
    assert (await pair.source.vm_status(pair.ref)).state == VmState.running


async def a_prepared_move_is_undone(pair: Pair) -> None:
    """Nothing is left at the destination, and the VM can be moved afterwards."""
    free = (await pair.destination.facts(Nothing())).memory_free_mib
    await pair.source.start_vm(pair.start)
    await pair.prepare()
    await pair.undo()
    await pair.undo()

    _is_clean(await pair.destination.facts(Nothing()), free=free)
    assert (await pair.source.vm_status(pair.ref)).state == VmState.running
    await pair.prepare()


async def a_copied_move_is_undone(pair: Pair) -> None:
    """The VM runs on at the source."""
    free = (await pair.destination.facts(Nothing())).memory_free_mib
    await pair.source.start_vm(pair.start)
    await pair.prepare(bandwidth_bytes_per_s=SLOW_BYTES_PER_S)
    async for _ in pair.source.copy(pair.order()):
        break
    await pair.undo()

    _is_clean(await pair.destination.facts(Nothing()), free=free)
    status = await pair.source.vm_status(pair.ref)
    assert (status.state, status.owned) == (VmState.running, True)


async def nothing_is_retired_or_undone_against_the_journal(pair: Pair) -> None:
    """A source that owns its VM keeps it; what was handed over is not taken back."""
    await pair.source.start_vm(pair.start)
    await pair.prepare()
    await _raises(Unresolved, pair.source.retire(pair.order()))
    await pair.copy()
    await pair.source.hand_over(pair.order())

    await _raises(Unresolved, pair.source.abort_outgoing(pair.order()))
    await _raises(Unresolved, pair.destination.abort_incoming(pair.order()))
    assert (await pair.destination.vm_status(pair.ref)).state == VmState.running


async def a_disk_is_made_once_and_removed_by_any_host_that_sees_it(pair: Pair) -> None:
    """Removing it again is harmless."""
    order = CreateDisk(vm="web-9", name="data", datastore="default", content=Blank(size_bytes=1 << 20))
    disk = await pair.source.create_disk(order)

    assert (disk.name, disk.size_bytes, disk.format, disk.read_only) == ("data", 1 << 20, DiskFormat.raw, False)
    await _raises(Refused, pair.destination.create_disk(order))
    for _ in range(2):
        await pair.destination.remove_disk(RemoveDisk(vm="web-9", disk=disk))
    assert await pair.source.create_disk(order) == disk
    await pair.source.remove_disk(RemoveDisk(vm="web-9", disk=disk))


async def a_disk_that_has_no_room_is_refused(pair: Pair) -> None:
    """With nothing left of it."""
    order = CreateDisk(vm="web-9", name="data", datastore="default", content=Blank(size_bytes=1 << 60))
    await _raises(Refused, pair.source.create_disk(order))
    await _raises(NotFound, pair.source.create_disk(order.model_copy(update={"datastore": "nowhere"})))
    small = await pair.source.create_disk(order.model_copy(update={"content": Blank(size_bytes=1 << 20)}))
    await pair.source.remove_disk(RemoveDisk(vm="web-9", disk=small))


async def a_disk_of_a_vm_that_runs_is_kept(pair: Pair) -> None:
    """Whatever the manager thinks."""
    name = pair.spec.name
    order = CreateDisk(vm=name, name="data", datastore="default", content=Blank(size_bytes=1 << 20))
    disk = await pair.source.create_disk(order)
    await pair.source.start_vm(pair.start)
    await _raises(Refused, pair.source.remove_disk(RemoveDisk(vm=name, disk=disk)))
    await pair.source.stop_vm(StopVm(name=name, grace_s=0))
    await pair.source.remove_disk(RemoveDisk(vm=name, disk=disk))


async def placed_disks_are_nobodys_until_they_are_kept(pair: Pair) -> None:
    """Discarding removes what that order placed, keeping ends that; both may be repeated."""
    (own,) = (await pair.destination.facts(Nothing())).datastores
    words = {"name": "data", "datastore": own.name, "size_bytes": 1 << 20}
    disk = Disk.model_validate(words | {"path": f"{own.path}/{pair.spec.name}/data.raw"})
    order = PlaceDisks(**pair.order().model_dump(), disks=(disk,))
    make = CreateDisk(vm=pair.spec.name, name="data", datastore=own.name, content=Blank(size_bytes=1 << 20))
    for _ in range(2):
        await pair.destination.place_disks(order)
    await _raises(Refused, pair.destination.create_disk(make))
    for _ in range(2):
        await pair.destination.discard_disks(pair.order())
    await pair.destination.place_disks(order)
    for _ in range(2):
        await pair.destination.keep_disks(pair.order())
    await pair.destination.discard_disks(pair.order())
    await _raises(Refused, pair.destination.place_disks(order))
    await pair.destination.remove_disk(RemoveDisk(vm=pair.spec.name, disk=disk))


async def a_vm_that_was_given_away_is_started_by_a_newer_word_only(pair: Pair) -> None:
    """Or after it was taken back."""
    words, name = pair.order().model_dump(), pair.spec.name
    await pair.source.start_vm(pair.start)
    await _raises(Refused, pair.source.give_vm(GiveVm(**words, destination="host-b")))
    await pair.source.stop_vm(StopVm(name=name, grace_s=0))
    for _ in range(2):
        await pair.source.give_vm(GiveVm(**words, destination="host-b"))
    for epoch in (None, 0, 1):
        await _raises(Refused, pair.source.start_vm(StartVm(spec=pair.spec, pinned=pair.pinned, epoch=epoch)))
    for _ in range(2):
        await pair.source.take_vm(TakeVm(**words, source="host-b"))
    await pair.source.start_vm(pair.start)


async def a_host_sees_added_datastores_whose_directory_is_there(pair: Pair) -> None:
    """And no longer those that were removed."""
    absent = Datastore(name="absent", path="/absent/from/every/host")
    (own,) = (await pair.source.facts(Nothing())).datastores
    there = Datastore(name="more", path="/", shared=True)
    await pair.source.use_datastores(UseDatastores(datastores=(absent, there)))
    assert {each.name for each in (await pair.source.facts(Nothing())).datastores} == {own.name, "more"}
    await pair.source.use_datastores(UseDatastores(datastores=()))
    assert {each.name for each in (await pair.source.facts(Nothing())).datastores} == {own.name}


async def a_watcher_hears_of_a_start_and_an_end(pair: Pair) -> None:
    """In that order."""
    heard: asyncio.Queue[VmState] = asyncio.Queue()

    async def listen() -> None:
        async for status in pair.source.watch(Nothing()):
            heard.put_nowait(status.state)

    await pair.source.start_vm(pair.start)
    listener = asyncio.create_task(listen())
    first = await heard.get()
    await pair.source.stop_vm(StopVm(name=pair.spec.name, grace_s=0))
    seen = [first]
    while seen[-1] != VmState.stopped:
        seen.append(await heard.get())
    listener.cancel()
    await asyncio.gather(listener, return_exceptions=True)

    assert seen[0] == VmState.running


SUITE: tuple[Callable[[Pair], Awaitable[None]], ...] = (
    a_vm_starts_and_stops,
    a_vm_is_started_once,
    an_unknown_vm_is_not_found,
    memory_is_promised_once,
    one_migration_at_a_time,
    too_much_memory_is_refused,
    a_vm_moves,
    a_relay_is_laid_and_taken_up,
    a_prepared_move_is_undone,
    a_copied_move_is_undone,
    nothing_is_retired_or_undone_against_the_journal,
    a_disk_is_made_once_and_removed_by_any_host_that_sees_it,
    a_disk_that_has_no_room_is_refused,
    a_disk_of_a_vm_that_runs_is_kept,
    placed_disks_are_nobodys_until_they_are_kept,
    a_vm_that_was_given_away_is_started_by_a_newer_word_only,
    a_host_sees_added_datastores_whose_directory_is_there,
    a_watcher_hears_of_a_start_and_an_end,
)


def _is_clean(facts: HostFacts, *, free: int | None) -> None:
    assert facts.vms == ()
    assert free is None or facts.memory_free_mib == free


async def _raises(kind: type[GodwitError], act: Awaitable[object]) -> None:
    raised: GodwitError | None = None
    try:
        await act
    except kind as error:
        raised = error
    assert raised is not None, f"{kind.__name__} was expected"
    assert raised.message

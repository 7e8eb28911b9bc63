"""Disks on their way from here or to here: served, mirrored, finished, given up."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

from godwit.agent.local import LocalVm, Place
from godwit.agent.notes import Note
from godwit.agent.placing import SERVED
from godwit.agent.storage_daemons import StorageDaemons
from godwit.agent.vms import Vms
from godwit.contract.disks import Finished, MirrorDisks, Served, ServeDisks
from godwit.contract.host import Order
from godwit.core.errors import Failed, GodwitError, Refused, Unreachable
from godwit.core.migration import DiskProgress, Event, EventKind, Progress
from godwit.core.model import Disk, DiskMove, Fact, Name, VmSpec
from godwit.core.ownership import Ownership
from godwit.qemu import disk_key, mirror
from godwit.qemu.blocks import allocated_bytes, node_of
from godwit.qemu.machine import Machine
from godwit.qemu.mirror import Copy
from godwit.storage import directory

LOOK_S = 0.5
"""Between two looks at copies that go on."""
FINISH_S = 45.0
STILL_S = 3.0
"""A copy that does not move for so long is told of."""
WAITING_S = 25.0
"""... and is given up after this where the writes of a guest wait for it: a disk driver gives up after 30 s."""
PATIENCE_S = 300.0
"""... and after this where nobody waits: it goes on from where it is when the network does."""


class Mirrored(Fact):
    """The order by which disks leave, and how far it has come."""

    request: MirrorDisks
    started_at_ms: float
    finished: tuple[Name, ...] = ()
    completing: bool = False
    """The copies, which were equal, may be what the VM has written to since, and nothing else."""
    done_bytes: dict[Name, int] = {}
    """Of disks that nobody writes: what lies before is on the copy, whoever dies."""

    def with_done(self, done: dict[str, int]) -> Mirrored:
        """Further by these."""
        return self.model_copy(update={"done_bytes": self.done_bytes | done})


class _Turn:
    """Of whoever follows a copy: the last that asked, and nobody who asked before and was not told yet to go."""

    def __init__(self, before: _Turn | None) -> None:
        self.lock: asyncio.Lock = before.lock if before else asyncio.Lock()


class Mirroring:
    """For each VM at most one move of disks from here, and one to here."""

    def __init__(self, vms: Vms, daemons: StorageDaemons) -> None:
        self._vms = vms
        self._daemons = daemons
        self._turns: dict[str, _Turn] = {}

    async def serve(self, request: ServeDisks) -> Served:
        """Disks that were placed here can be written over the migration network, by whoever has the key, if any."""
        note = Note(self._place(request.vm).state_dir / SERVED, Served)
        machine = await self._machine(request, tuple(map(mirror.writable, request.disks)))
        if (known := note.read()) and await machine.monitor.execute("query-block-exports"):
            return known
        key = disk_key.make_key() if request.tls else ""
        if key:
            await disk_key.use_key(machine.monitor, machine.run_dir, key, "server")
        address = self._vms.config.migration_address
        filled = tuple(map(mirror.writable, request.disks)) if request.off else request.disks
        at = await mirror.serve(machine.monitor, filled, address=address, encrypted=bool(key))
        served = Served(address=at, key=key)
        note.write(served)
        return served

    async def mirror(self, request: MirrorDisks) -> AsyncIterator[Event]:
        """Each disk is copied and then kept equal; begun once, and followed from where it is.

        `Unreachable` if the storage daemon of a VM that is off has died: asked again, another one goes on.
        """
        try:
            async for event in self._mirror(request):
                yield event
        except Failed as error:
            if not request.off or not await self._daemons.has_died(request.vm):
                raise
            why = f"the storage daemon that copied disks of {request.vm} on {self._vms.config.host} has died"
            raise Unreachable(f"{why}: another one goes on") from error

    async def _mirror(self, request: MirrorDisks) -> AsyncIterator[Event]:
        note = self._note(request.vm)
        known = note.read()
        if known is None or known.request.order() != request.order():
            known = Mirrored(request=request, started_at_ms=time.time() * 1000)
        if known.finished:
            return
        machine = await self._machine(request, tuple(move.disk for move in request.moves))
        turn = self._turns[request.vm] = _Turn(self._turns.get(request.vm))
        async with turn.lock:
            known = await self._begun(machine, known, request)
        watch = _Watch(request.moves, known.started_at_ms, patience_s=await self._patience_s(machine, request.vm))
        with machine.monitor.listening() as events:
            while True:
                async with turn.lock:
                    if self._turns[request.vm] is not turn:
                        return
                    copies = await mirror.look(machine.monitor)
                    if done := await self._ranges_done(machine, known, copies):
                        known = await self._begun(machine, known.with_done(done), request)
                        continue
                yield watch.progress(copies)
                if watch.stands_still():
                    yield _stands_still()
                await mirror.go_on(machine.monitor, copies)
                if all(each.is_ready for each in copies):
                    break
                await mirror.turned(events, within_s=LOOK_S)
        await mirror.hold_equal(machine.monitor)
        if self._running(request.vm):
            await mirror.flush(machine.monitor)
        for move in request.moves:
            await asyncio.to_thread(_mark, move, request)
            yield await _copied(machine, move, watch)

    async def finish(self, order: Order) -> Finished:
        """Each copy is complete; in use, if it is on this host and its VM runs. Asked again, it says the same."""
        note = self._note(order.vm)
        known = note.read()
        if known is None or known.request.order() != order.order():
            raise Refused(f"{self._vms.config.host} copies no disks of {order.vm} by migration {order.migration}")
        if known.finished:
            return Finished(disks=known.finished)
        if known.request.off or known.request.served:
            finished = await self._complete(known.request)
        else:
            finished = await self._pivot(known)
        note.write(known.model_copy(update={"finished": finished.disks}))
        return finished

    async def end(self, order: Order) -> None:
        """No disk is copied any more; those that went nowhere are the VM's as before."""
        note = self._note(order.vm)
        known = note.read()
        if known is None or known.request.order() != order.order():
            return
        moves = known.request.moves
        if vm := self._running(order.vm):
            await mirror.break_off(vm.machine.monitor, moves)
        await self._daemons.end(order.vm)
        owner = self._vms.owner(order.vm)
        if not (owner.is_about(order) and owner.state == Ownership.done):
            in_use = known.finished if self._running(order.vm) else ()
            for move in moves:
                if move.disk.name not in in_use:
                    _unmark(move.disk)
        note.drop()

    async def let_go(self, vm: str) -> None:
        """Its QEMU, which will not run again, waits for no copy when it ends."""
        if running := self._running(vm):
            await mirror.yank(running.machine.monitor)

    def is_old(self, vm: str, disk: Disk) -> bool:
        """It was a disk of that VM, which runs on with its copy."""
        known = self._note(vm).read()
        return known is not None and any(
            move.disk.path == disk.path and move.disk.name in known.finished for move in known.request.moves
        )

    def refuse_moved(self, spec: VmSpec) -> None:
        """`Refused` if a disk of that VM has gone elsewhere, or may have: what is here may be old."""
        for disk in spec.volumes:
            if not disk.is_lun and (where := directory.moved_to(Path(disk.path))):
                raise Refused(
                    f"{disk.path} on {self._vms.config.host} is an old copy: disk {disk.name} of {spec.name} {where}; "
                    "see `godwit migration list`",
                    "disk-moved",
                )

    async def _patience_s(self, machine: Machine, vm: str) -> float:
        return WAITING_S if self._running(vm) and await mirror.writes_wait(machine.monitor) else PATIENCE_S

    async def _ranges_done(self, machine: Machine, known: Mirrored, copies: tuple[Copy, ...]) -> dict[str, int]:
        """How far disks are done of which a range, but not the last, has just been; their jobs are gone."""
        disks, found = {move.disk.name: move.disk for move in known.request.moves}, dict[str, int]()
        for each in copies:
            end = mirror.range_end(disks[each.disk], each.begin)
            is_done = each.is_ready or (each.is_over and not each.error)
            if each.is_part and is_done and end < disks[each.disk].size_bytes:
                await mirror.end_range(machine.monitor, each, timeout_s=FINISH_S)
                found[each.disk] = end
        return found

    async def _begun(self, machine: Machine, known: Mirrored, request: MirrorDisks) -> Mirrored:
        """Every disk is being copied to where the request says, from where it is done; so the note says."""
        note = self._note(request.vm)
        if known.request != request:  # whoever served died, and another serves: what it had not flushed is copied again
            await mirror.break_off(machine.monitor, request.moves)
            await self._machine(request, tuple(move.disk for move in request.moves))  # opened again
            known = known.model_copy(update={"request": request})
        await note.keep(known)
        if began_ms := await self._start_missing(machine, known):
            known = known.model_copy(update={"started_at_ms": began_ms})
            await note.keep(known)
        return known

    async def _start_missing(self, machine: Machine, known: Mirrored) -> float | None:
        """When the first of all was begun; none: some were before."""
        request, served = known.request, known.request.served
        begun = {each.disk for each in await mirror.look(machine.monitor)}
        missing = [move for move in request.moves if move.disk.name not in begun]
        if served and served.key and not begun:
            await disk_key.use_key(machine.monitor, machine.run_dir, served.key, "client")
        began_ms = time.time() * 1000
        for move in missing:
            await mirror.start(
                machine.monitor,
                move,
                server=served.address if served else None,
                encrypted=bool(served and served.key),
                bytes_per_s=(request.bandwidth_bytes_per_s or 0) // len(request.moves),
                begin=known.done_bytes.get(move.disk.name, 0) if request.off else None,
            )
        return None if begun or known.done_bytes else began_ms

    async def _pivot(self, known: Mirrored) -> Finished:
        """What QEMU uses afterwards is what counts, and what the passport says.

        What a QEMU used that has died cannot be asked. Until it was told to use the copies both sides had all writes;
        from then on only the copies may have them.
        """
        request, note = known.request, self._note(known.request.vm)
        vm = self._running(request.vm)
        if vm is None:
            died = f"the QEMU of {request.vm} on {self._vms.config.host} has ended"
            return Finished(disks=tuple(move.disk.name for move in request.moves) if known.completing else (), why=died)
        monitor = vm.machine.monitor
        why = ""
        try:
            if not known.completing:
                await mirror.demand_equal(monitor, timeout_s=FINISH_S)
                await note.keep(known.model_copy(update={"completing": True}))
            copies = await mirror.pivot(monitor, timeout_s=FINISH_S)
            why = "; ".join(each.error for each in copies if each.error)
        except Failed as error:
            why = error.message
        went = [move for move in request.moves if await mirror.uses(monitor, move.to)]
        self._vms.use_spec(vm.name, vm.passport.spec.with_moved(went))
        for move in request.moves:
            if move not in went:
                _unmark(move.disk)
        return Finished(disks=tuple(move.disk.name for move in went), why=why)

    async def _complete(self, request: MirrorDisks) -> Finished:
        machine = await self._machine(request, tuple(move.disk for move in request.moves))
        copies = await mirror.finish(machine.monitor, timeout_s=FINISH_S)
        await self._daemons.end(request.vm)
        why = "; ".join(each.error for each in copies if each.error)
        return Finished(disks=tuple(each.disk for each in copies if not each.error), why=why)

    async def _machine(self, request: ServeDisks | MirrorDisks, disks: tuple[Disk, ...]) -> Machine:
        """What has these disks open: the VM's QEMU, or a storage daemon while it is off."""
        running = self._running(request.vm)
        if running is None and not request.off:
            raise Failed(
                f"the QEMU of {request.vm} on {self._vms.config.host} has ended: see its log there", "disk-copy"
            )
        return running.machine if running else await self._daemons.with_disks(request.vm, disks)

    def _running(self, vm: str) -> LocalVm | None:
        return self._vms.get(vm) if self._vms.has(vm) and self._vms.get(vm).is_alive else None

    def _place(self, vm: str) -> Place:
        return Place.of(self._vms.config, vm)

    def _note(self, vm: str) -> Note[Mirrored]:
        return Note(self._place(vm).state_dir / "mirrored.json", Mirrored)


class _Watch:
    """Makes progress of looks at copies."""

    def __init__(self, moves: tuple[DiskMove, ...], started_at_ms: float, *, patience_s: float) -> None:
        self._moves = moves
        self._patience_s = patience_s
        self._told = False
        self._started_at_ms = started_at_ms
        self._copied_bytes = -1
        self._moved_at_s = time.monotonic()
        self.ready_after_ms: dict[str, float] = {}

    def progress(self, copies: tuple[Copy, ...]) -> Event:
        """How far they are; `Failed` names one that broke, or that all stand still."""
        for each in copies:
            if each.is_over or each.error:
                raise Failed(f"disk {each.disk} could not be copied: {each.error or 'its job ended'}", "disk-copy")
            if each.is_ready:
                self.ready_after_ms.setdefault(each.disk, time.time() * 1000 - self._started_at_ms)
        copies = tuple(map(self._in_whole, copies))
        copied, total = (sum(getattr(each, key) for each in copies) for key in ("copied_bytes", "total_bytes"))
        self._check_silence(copied, all(each.is_ready for each in copies))
        elapsed_s = max(time.time() - self._started_at_ms / 1000, 0.001)
        bandwidth = int(copied / elapsed_s)
        progress = Progress(
            pass_number=0,
            transferred_bytes=copied,
            remaining_bytes=total - copied,
            total_bytes=total,
            bandwidth_bytes_per_s=bandwidth,
            dirty_bytes_per_s=0,
            time_left_s=(total - copied) / bandwidth if bandwidth else None,
            disks=tuple(
                DiskProgress(disk=each.disk, copied_bytes=each.copied_bytes, total_bytes=each.total_bytes)
                for each in copies
            ),
        )
        disks = ", ".join(f"{each.disk} {each.copied_bytes * 100 // max(each.total_bytes, 1)} %" for each in copies)
        text = f"disks: {disks}, {bandwidth / 2**20:.0f} MiB/s"
        return Event(at=datetime.now(UTC), kind=EventKind.progressed, text=text, progress=progress)

    def _in_whole(self, copy: Copy) -> Copy:
        """With what lies around its range."""
        disk = next(move.disk for move in self._moves if move.disk.name == copy.disk)
        after = disk.size_bytes - mirror.range_end(disk, copy.begin) if copy.is_part else 0
        total = copy.begin + copy.total_bytes + after
        return replace(copy, copied_bytes=copy.begin + copy.copied_bytes, total_bytes=total)

    def stands_still(self) -> bool:
        """Nothing has been copied for a while; true once."""
        is_news = not self._told and time.monotonic() - self._moved_at_s > STILL_S
        self._told = self._told or is_news
        return is_news

    def _check_silence(self, copied_bytes: int, is_ready: bool) -> None:
        if copied_bytes != self._copied_bytes or is_ready:
            self._copied_bytes, self._moved_at_s, self._told = copied_bytes, time.monotonic(), False
        elif time.monotonic() - self._moved_at_s > self._patience_s:
            raise Failed(
                f"the copying of disks stood still for {self._patience_s:.0f} s: look after the migration network, and "
                "after the storage on both sides",
                "disk-copy",
            )


def _stands_still() -> Event:
    text = "the copying of disks stands still, and goes on from there when the migration network and the storage do"
    return Event(at=datetime.now(UTC), kind=EventKind.warned, text=text)


async def _copied(machine: Machine, move: DiskMove, watch: _Watch) -> Event:
    """For the report: what the disk's file holds, and what of it is zeros that take no room."""
    held: int | None = None
    try:
        held = await allocated_bytes(machine.monitor, await node_of(machine.monitor, move.disk))
    except GodwitError:
        held = None  # figures are not worth an error
    copied = move.disk.size_bytes if held is None else min(held, move.disk.size_bytes)
    data = {
        "disk": move.disk.name,
        "from": move.disk.path,
        "to": move.to.path,
        "copied_bytes": copied,
        "skipped_bytes": move.disk.size_bytes - copied,
        "ms": round(watch.ready_after_ms.get(move.disk.name, 0.0), 1),
    }
    text = f"disk {move.disk.name} is copied to {move.to.path}, and its copy kept equal"
    return Event(at=datetime.now(UTC), kind=EventKind.disk_copied, text=text, data=data)


def _mark(move: DiskMove, request: MirrorDisks) -> None:
    if move.disk.is_lun:
        return  # nothing can lie beside it
    directory.mark_moved(Path(move.disk.path), f"went to {move.to.path} by migration {request.migration}")


def _unmark(disk: Disk) -> None:
    if disk.is_lun:
        return
    directory.unmark(Path(disk.path))

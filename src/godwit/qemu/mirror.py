"""Disks copied and kept equal: the jobs of QEMU's block layer, served, started, watched, finished, broken off.

The order at a hand-over (a copy that is finished earlier misses writes; one that is still at work when the source lets
go of its disks fails): vCPUs stop, the jobs are finished, the source lets go, the destination ends its server, and only
then it runs. A job is finished by a cancel without force: the copy is complete, and the disk itself stays in use.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from zlib import crc32

from godwit.core.errors import Failed, GodwitError, TimedOut, Unreachable
from godwit.core.model import MIB, Disk, DiskMove
from godwit.qemu.blocks import close_node, close_parts, find_node, node_of, open_disk, open_part
from godwit.qemu.disk_key import OBJECT
from godwit.qemu.monitor import Listening, Monitor

RECONNECT_S = 10
"""A connection that breaks is made anew for so long before the copy fails; meanwhile a guest's writes may wait."""
FLUSH_S = 3.0
SYNCED_S = 0.02
RANGE_BYTES = 256 * MIB
"""Of a disk that nobody writes: copied and flushed at once; less than this is copied again when somebody dies."""
_JOB = "mirror-"
_AT = "_"
"""No disk's name has it."""
_COPY = "to-"
_FILL = "fill-"
_TRIES = 8


@dataclass(frozen=True)
class Copy:
    """One disk's job."""

    disk: str
    begin: int
    """Where the range that is copied begins; what lies before it is done, and there to stay."""
    job: str
    status: str
    """QEMU's word: running, ready, paused, concluded, ..."""
    copied_bytes: int
    total_bytes: int
    error: str | None

    @property
    def is_part(self) -> bool:
        """Of its disk."""
        return _AT in self.job

    @property
    def is_ready(self) -> bool:
        """Equal, and kept so."""
        return self.status == "ready"

    @property
    def is_over(self) -> bool:
        """Well or not, by `error`."""
        return self.status == "concluded"


async def serve(monitor: Monitor, disks: tuple[Disk, ...], *, address: str, encrypted: bool) -> str:
    """These disks can be written at this `address:port`, each under its name.

    One that its VM may only read gets a second node, by which it is filled; QEMU must not run the VM meanwhile. What
    somebody had begun who was killed is begun anew.
    """
    await stop_serving(monitor, disks)
    port = await _start_server(monitor, address, {"tls-creds": OBJECT} if encrypted else {})
    for number, disk in enumerate(disks):
        name = f"{_FILL}{number}" if disk.read_only else await node_of(monitor, disk)
        if disk.read_only:
            await open_disk(monitor, name, writable(disk))
        export = {"type": "nbd", "id": f"export-{disk.name}", "name": disk.name, "writable": True}
        await monitor.execute("block-export-add", {**export, "node-name": name})
    return f"[{address}]:{port}" if ":" in address else f"{address}:{port}"


async def serve_here(monitor: Monitor, disks: tuple[Disk, ...], at: Path) -> None:
    """These disks can be read by programs of this host through that socket, each under its name."""
    await monitor.execute("nbd-server-start", {"addr": {"type": "unix", "data": {"path": str(at)}}})
    for disk in disks:
        export = {"type": "nbd", "id": f"export-{disk.name}", "name": disk.name, "writable": False}
        await monitor.execute("block-export-add", {**export, "node-name": await node_of(monitor, disk)})


async def _start_server(monitor: Monitor, address: str, words: dict[str, object]) -> int:
    """QEMU does not tell which port the kernel chose, so that one is found before, and another if it was taken."""
    for attempt in range(_TRIES):
        with socket.create_server((address, 0), family=socket.AF_INET6 if ":" in address else socket.AF_INET) as probe:
            port: int = probe.getsockname()[1]
        try:
            data = {"host": address, "port": str(port)}
            await monitor.execute("nbd-server-start", {"addr": {"type": "inet", "data": data}, **words})
            return port
        except Failed:
            if attempt == _TRIES - 1:
                raise
    raise AssertionError("the last attempt returned or raised")


def writable(disk: Disk) -> Disk:
    """The same, to be written."""
    return disk.model_copy(update={"read_only": False})


async def stop_serving(monitor: Monitor, disks: tuple[Disk, ...]) -> None:
    """Nobody can write these disks from outside any more."""
    with contextlib.suppress(Failed):  # there is no server
        await monitor.execute("nbd-server-stop")
    for number, disk in enumerate(disks):
        if disk.read_only:
            await close_node(monitor, f"{_FILL}{number}")


async def start(
    monitor: Monitor, move: DiskMove, *, server: str | None, encrypted: bool, bytes_per_s: int, begin: int | None = None
) -> None:
    """The disk is being copied to its place on that server, or on this host; 0 bytes per second: without a limit.

    Of a disk that nobody writes only the range that begins there, so that what is done is done whoever dies. A copy on
    a server that cannot be written just now waits, and `go_on` lets it try again.
    """
    name, job = copy_node(move), _JOB + move.disk.name
    await close_parts(monitor)
    await close_node(monitor, name)
    if server is None:
        await open_disk(monitor, name, writable(move.to))
    else:
        thin = {} if move.to.preallocated else {"detect-zeroes": "unmap", "discard": "unmap"}
        await monitor.execute("blockdev-add", _remote(name, move.to.name, server, encrypted) | thin)
    disk = await node_of(monitor, move.disk)
    if begin is not None and range_end(move.disk, 0) < move.disk.size_bytes:
        part = {"offset": begin, "size": range_end(move.disk, begin) - begin}
        disk, name = await open_part(monitor, disk, **part), await open_part(monitor, name, **part)
        job = f"{job}{_AT}{begin}"
    synchronous = not await _can_change(monitor)
    words = {"job-id": job, "device": disk, "target": name}
    how = {"sync": "full", "copy-mode": "write-blocking" if synchronous else "background", "auto-dismiss": False}
    lasting = {"on-target-error": "stop"} if server else {}  # its bitmap knows what is still to be copied
    await monitor.execute("blockdev-mirror", {**words, **how, **lasting, "speed": bytes_per_s})


def range_end(disk: Disk, begin: int) -> int:
    """Of the range that begins there."""
    return min(begin + RANGE_BYTES, disk.size_bytes)


async def end_range(monitor: Monitor, copy: Copy, *, timeout_s: float) -> None:
    """What it copies is done, and nothing is left of its job; it was ready, which it is when all has been flushed."""
    with monitor.listening() as events:
        if not copy.is_over:
            await monitor.execute("block-job-cancel", device=copy.job)
        (ended,) = [each for each in await _all_over(monitor, events, timeout_s, copy.job) if each.job == copy.job]
    if ended.error:
        raise Failed(f"disk {copy.disk} could not be copied: {ended.error}", "disk-copy")
    await monitor.execute("job-dismiss", id=copy.job)


def copy_node(move: DiskMove) -> str:
    """The node of the copy: another one than any that the VM has, or has had."""
    return f"{_COPY}{crc32(move.to.path.encode()):08x}"


def _remote(name: str, export: str, server: str, encrypted: bool) -> dict[str, object]:
    host, _, port = server.rpartition(":")
    address = {"type": "inet", "host": host.strip("[]"), "port": port}
    tls = {"tls-creds": OBJECT} if encrypted else {}
    return {
        "node-name": name,
        "driver": "nbd",
        "server": address,
        "export": export,
        "reconnect-delay": RECONNECT_S,
        **tls,
    }


async def go_on(monitor: Monitor, copies: tuple[Copy, ...]) -> None:
    """Copies that wait because they could not be written try again from there; `Failed` names one that has no room."""
    if not any(each.status in {"paused", "standby"} for each in copies):
        return
    for each in await monitor.execute("query-block-jobs"):
        if each["device"].startswith(_JOB) and each["io-status"] == "nospace":
            name = each["device"].removeprefix(_JOB).partition(_AT)[0]
            raise Failed(
                f"disk {name} could not be copied: there is no room left where it goes; free some", "disk-full"
            )
        if each["device"].startswith(_JOB) and each["io-status"] == "failed":
            await monitor.execute("block-job-resume", device=each["device"])


async def writes_wait(monitor: Monitor) -> bool:
    """Whether a guest's writes wait for the copy while it is made (QEMU before 8.2)."""
    return not await _can_change(monitor)


async def _can_change(monitor: Monitor) -> bool:
    """Whether a job can be told later that writes shall wait for the copy (QEMU 8.2)."""
    return any(each["name"] == "block-job-change" for each in await monitor.execute("query-commands"))


async def look(monitor: Monitor) -> tuple[Copy, ...]:
    """Every disk that is copied, or was until its job ended."""
    return tuple(
        Copy(
            disk=each["id"].removeprefix(_JOB).partition(_AT)[0],
            begin=int(each["id"].partition(_AT)[2] or 0),
            job=each["id"],
            status=each["status"],
            copied_bytes=each["current-progress"],
            total_bytes=each["total-progress"],
            error=each.get("error"),
        )
        for each in await monitor.execute("query-jobs")
        if each["id"].startswith(_JOB)
    )


async def turned(events: Listening, *, within_s: float) -> None:
    """Some job has changed its state, or that time is over."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(within_s):
            while (await anext(events)).name != "JOB_STATUS_CHANGE":
                pass


async def hold_equal(monitor: Monitor) -> None:
    """Every write waits for the copy from now on, so that what is left when the vCPUs stop is next to nothing."""
    if await _can_change(monitor):
        for each in await look(monitor):
            change = {"id": each.job, "type": "mirror", "copy-mode": "write-blocking"}
            await monitor.execute("block-job-change", change)


async def demand_equal(monitor: Monitor, *, timeout_s: float) -> None:
    """Each copy has all that its disk has, and keeps it; `Failed`: one has not, or not soon. After `hold_equal`."""
    try:
        async with asyncio.timeout(timeout_s):
            with monitor.listening() as events:
                _refuse_late(await look(monitor))
                while not all(each.get("actively-synced", True) for each in await monitor.execute("query-block-jobs")):
                    await turned(events, within_s=SYNCED_S)  # QEMU tells of no such event
    except TimeoutError:
        raise TimedOut(f"the copies were not equal within {timeout_s:g} s: look after the storage") from None


def _refuse_late(copies: tuple[Copy, ...]) -> None:
    late = [each.disk for each in copies if not each.is_ready and not each.is_over]
    if late:
        raise Failed(f"{', '.join(late)} is not copied yet: the move was asked to end too early", "disk-not-ready")


async def finish(monitor: Monitor, *, timeout_s: float) -> tuple[Copy, ...]:
    """Every job has ended; one without an error has left a complete copy. The disks themselves stay in use."""
    return await _ended(monitor, "block-job-cancel", timeout_s=timeout_s)


async def pivot(monitor: Monitor, *, timeout_s: float) -> tuple[Copy, ...]:
    """Every job has ended; where there is no error the copy is in use, and the old disk no longer."""
    return await _ended(monitor, "job-complete", timeout_s=timeout_s)


async def _ended(monitor: Monitor, command: str, *, timeout_s: float) -> tuple[Copy, ...]:
    key = "id" if command == "job-complete" else "device"
    with monitor.listening() as events:
        copies = await look(monitor)
        for each in copies:
            if each.is_ready:
                await monitor.execute(command, {key: each.job})
        _refuse_late(copies)
        return await _all_over(monitor, events, timeout_s)


async def _all_over(monitor: Monitor, events: Listening, timeout_s: float, only: str = _JOB) -> tuple[Copy, ...]:
    try:
        async with asyncio.timeout(timeout_s):
            while not all(each.is_over for each in await look(monitor) if each.job.startswith(only)):
                while (await anext(events)).name != "JOB_STATUS_CHANGE":
                    pass
    except TimeoutError:
        raise TimedOut(f"the copies were not complete within {timeout_s:g} s: look after the network") from None
    return await look(monitor)


async def break_off(monitor: Monitor, moves: tuple[DiskMove, ...], *, timeout_s: float = 15.0) -> None:
    """No job is left, and no node of a copy that is not in use; harmless when repeated."""
    await yank(monitor)
    with monitor.listening() as events:
        for each in await look(monitor):
            if not each.is_over:
                with contextlib.suppress(Failed):  # it just ended
                    await monitor.execute("block-job-cancel", device=each.job, force=True)
        await _all_over(monitor, events, timeout_s)
    await clear(monitor, moves)


async def yank(monitor: Monitor) -> None:
    """Connections to copies elsewhere are cut, so that nothing waits for them: not even QEMU's own end."""
    with contextlib.suppress(GodwitError):
        for each in await monitor.execute_oob("query-yank"):
            if each["type"] == "block-node" and each["node-name"].startswith(_COPY):
                await monitor.execute_oob("yank", instances=[each])


async def flush(monitor: Monitor) -> None:
    """What was written to disks and copies is there to stay, so that finishing them has next to nothing to wait for.

    A guest's own flushes do not reach the copies. QEMU's main loop waits for it, so a copy that is silent is cut off.
    """
    try:
        async with asyncio.timeout(FLUSH_S):
            await _flush(monitor)
    except TimeoutError:
        await yank(monitor)


async def _flush(monitor: Monitor) -> None:
    for each in await monitor.execute("query-named-block-nodes", flat=True):
        if each["node-name"].startswith(_COPY):
            words = {"command-line": f"qemu-io {each['node-name']} flush"}
            await monitor.execute("human-monitor-command", words)


async def clear(monitor: Monitor, moves: tuple[DiskMove, ...]) -> None:
    """Of jobs that are over nothing is left, nor of nodes that nobody uses."""
    for each in await look(monitor):
        await monitor.execute("job-dismiss", id=each.job)
    await close_parts(monitor)
    for move in moves:
        for name in (copy_node(move), await _node_or_none(monitor, move.disk)):
            if name:
                with contextlib.suppress(Failed):  # it is in use
                    await close_node(monitor, name)


async def _node_or_none(monitor: Monitor, disk: Disk) -> str | None:
    try:
        return await node_of(monitor, disk)
    except Unreachable:
        raise
    except Failed:
        return None


async def uses(monitor: Monitor, disk: Disk) -> bool:
    """A device of the VM is on that disk; `Failed` if QEMU does not say."""
    inserted: list[dict[str, Any]] = [each.get("inserted", {}) for each in await monitor.execute("query-block")]
    name = await find_node(monitor, disk)
    return name is not None and any(each.get("node-name") == name for each in inserted)

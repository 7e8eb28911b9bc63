"""The memory stream: QEMU set up to receive or to send, watched, let go, broken off.

The rules that the hand-over rests on are set here, on both sides: return-path off (so a source that has sent its last
byte can only run again by an explicit `cont`), no announcements by QEMU itself, and never `migrate_cancel` (after STOP
it may resume a source whose copy is complete elsewhere): a stream is broken off by `yank`, out of band.
"""

from __future__ import annotations

import asyncio
import math
from dataclasses import dataclass
from typing import Any

from godwit.core.errors import Failed
from godwit.qemu.monitor import Monitor

MULTIFD_CHANNELS = 2
"""The same on both sides; two fill 10 Gbit/s when nothing is compressed."""

HOLD_MS = 1
"""A downtime limit that a busy guest never meets: QEMU goes on copying until the limit is raised."""

NO_COMPRESSION = "none"

UNKNOWN = "is unexpected"
"""QEMU's words for an argument that it does not know; nothing was done then (qapi/qobject-input-visitor.c)."""

_CLEAR_UP_S = 15.0
_LOOK_S = 0.05
_UNLIMITED_BYTES_PER_S = 10**12
_LONGEST_BLACKOUT_MS = 2_000_000
"""QEMU accepts no more."""
_THROTTLE_NEVER = {
    "throttle-trigger-threshold": 100,
    "cpu-throttle-initial": 1,
    "cpu-throttle-increment": 1,
    "max-cpu-throttle": 1,
}
"""As good as never: QEMU wants one percent at least."""
_COMPRESSION_LEVELS = {"zstd": {"multifd-zstd-level": 1}, "zlib": {"multifd-zlib-level": 1}}


@dataclass(frozen=True)
class MemorySample:
    """One look at the stream, from `query-migrate` at the source."""

    status: str
    """QEMU's word: none, setup, active, device, completed, failed, cancelled, ..."""
    pass_number: int
    transferred_bytes: int
    remaining_bytes: int
    total_bytes: int
    bandwidth_bytes_per_s: int
    """Over the last 100 ms or more; 0 until first measured."""
    dirty_bytes_per_s: int
    """Over the last second or more; 0 until first measured."""
    error: str | None
    throttle_percent: int = 0
    """How much QEMU slows the guest down now."""
    pages_bytes_per_s: int = 0
    """The guest's memory that the stream carried, before compression; 0 until first measured."""


async def capabilities(monitor: Monitor) -> frozenset[str]:
    """The names of what this QEMU can do when migrating, whatever its version."""
    return frozenset(each["capability"] for each in await monitor.execute("query-migrate-capabilities"))


async def prepare_receiver(monitor: Monitor, *, address: str, multifd: bool, compression: str = NO_COMPRESSION) -> str:
    """QEMU listens at that address, on a port of the kernel's choice; this is the URI for the source."""
    # late-block-activate: QEMU before 10 would otherwise take the images' locks at the stream's end, not at `cont`
    await _set_capabilities(monitor, multifd=multifd, also={"late-block-activate": True})
    await monitor.execute("migrate-set-parameters", _common(multifd, compression))
    host = f"[{address}]" if ":" in address else address
    await _listen(monitor, f"tcp:{host}:0")
    for listening in (await monitor.execute("query-migrate")).get("socket-address", []):
        if listening["type"] == "inet":
            return f"tcp:{host}:{listening['port']}"
    raise Failed(f"QEMU listens for memory at {address} but does not say on which port; report this QEMU's version")


async def prepare_sender(
    monitor: Monitor,
    *,
    multifd: bool,
    bandwidth_bytes_per_s: int | None,
    compression: str = NO_COMPRESSION,
    ready_to_throttle: bool = False,
) -> None:
    """QEMU is set to send, held back from switching over, and capped (none: as fast as the link).

    It may slow the guest down (auto-converge), but only as much as `throttle` says; if it is ready to, what is said
    when the first pass has ended counts from the end of the second on, else later (core/brake.py).
    What is left of an earlier stream is gone: QEMU says `failed` before it clears up, and takes no other until then.
    """
    await _cleared_up(monitor)
    await _set_capabilities(monitor, multifd=multifd, also={"auto-converge": True})
    limits = {
        "max-bandwidth": bandwidth_bytes_per_s or _UNLIMITED_BYTES_PER_S,
        "downtime-limit": HOLD_MS,
        **_THROTTLE_NEVER,
        **({"throttle-trigger-threshold": 1} if ready_to_throttle else {}),
    }
    await monitor.execute("migrate-set-parameters", {**_common(multifd, compression), **limits})


async def pause_before_switch(monitor: Monitor) -> None:
    """The next stream waits, vCPUs stopped and disks still open, until `go_on`: MIGRATION says `pre-switchover`."""
    paused = {"capability": "pause-before-switchover", "state": True}
    await monitor.execute("migrate-set-capabilities", capabilities=[paused])


async def go_on(monitor: Monitor) -> None:
    """A stream that waits goes on."""
    await monitor.execute("migrate-continue", state="pre-switchover")


async def start_sending(monitor: Monitor, uri: str) -> None:
    """The stream has begun, or QEMU refused; later failures come as MIGRATION events."""
    await monitor.execute("migrate", uri=uri)


async def sample(monitor: Monitor) -> MemorySample:
    """The stream as it is now."""
    answer: dict[str, Any] = await monitor.execute("query-migrate")
    ram: dict[str, Any] = answer.get("ram", {})
    return MemorySample(
        status=answer.get("status", "none"),
        pass_number=ram.get("dirty-sync-count", 0),
        transferred_bytes=ram.get("transferred", 0),
        remaining_bytes=ram.get("remaining", 0),
        total_bytes=ram.get("total", 0),
        bandwidth_bytes_per_s=int(ram.get("mbps", 0) * 1e6 / 8),
        dirty_bytes_per_s=ram.get("dirty-pages-rate", 0) * ram.get("page-size", 4096),
        error=answer.get("error-desc"),
        throttle_percent=answer.get("cpu-throttle-percentage", 0),
        pages_bytes_per_s=ram.get("pages-per-second", 0) * ram.get("page-size", 4096),
    )


async def allow_switch(monitor: Monitor, downtime_ms: float) -> None:
    """QEMU switches over as soon as it expects the rest to take no longer; it looks every 100 ms."""
    limit = min(max(0, math.ceil(downtime_ms)), _LONGEST_BLACKOUT_MS)
    await monitor.execute("migrate-set-parameters", {"downtime-limit": limit})


async def hold(monitor: Monitor) -> None:
    """QEMU copies on and does not switch over, unless it did already."""
    await allow_switch(monitor, HOLD_MS)


async def throttle(monitor: Monitor, percent: int, *, trigger: int = 1) -> None:
    """The guest's vCPUs stand still for that part of the time, 0 to 99, until the stream ends.

    QEMU looks when a pass ends that took a second or more, and changes anything at every second such look that finds
    more dirtied than `trigger` percent of what was sent (core/brake.py).
    """
    if percent:
        limits = {"throttle-trigger-threshold": trigger, "cpu-throttle-initial": percent, "cpu-throttle-increment": 99}
        await monitor.execute("migrate-set-parameters", {**limits, "max-cpu-throttle": percent})
    else:
        await monitor.execute("migrate-set-parameters", _THROTTLE_NEVER)


async def cap(monitor: Monitor, bandwidth_bytes_per_s: int) -> None:
    """The stream takes no more from now on."""
    await monitor.execute("migrate-set-parameters", {"max-bandwidth": bandwidth_bytes_per_s})


def compressions(schema: list[dict[str, Any]]) -> tuple[str, ...]:
    """By what a QEMU of that schema can compress a stream over several connections."""
    return next((_values(each) for each in schema if "zlib" in _values(each) and "none" in _values(each)), ())


def _values(entry: dict[str, Any]) -> tuple[str, ...]:
    return tuple(entry.get("values", ()))


async def break_off(monitor: Monitor) -> None:
    """The stream's sockets are shut, even while QEMU's main loop hangs on them; await the MIGRATION event `failed`.

    So are those by which disks are copied: QEMU before 9.1 waits for all that is on its way to any disk when a stream
    has failed, and does nothing else meanwhile (block_migration_cleanup in migration/block.c). `Failed` if there is
    no stream any more.
    """
    found = await monitor.execute_oob("query-yank")
    copies = [each for each in found if each["type"] == "block-node"]
    await monitor.execute_oob("yank", instances=[*copies, {"type": "migration"}])


async def announce(
    monitor: Monitor, *, rounds: int = 5, initial_ms: int = 50, step_ms: int = 100, longest_ms: int = 550
) -> None:
    """QEMU sends RARPs and asks the guest's driver to announce itself: now and `rounds` - 1 times more."""
    await monitor.execute("announce-self", initial=initial_ms, max=longest_ms, rounds=rounds, step=step_ms)


async def _cleared_up(monitor: Monitor) -> None:
    held = {"type": "migration"}
    try:
        async with asyncio.timeout(_CLEAR_UP_S):
            while held in await monitor.execute("query-yank"):  # noqa: ASYNC110 - QEMU tells of it by no event
                await asyncio.sleep(_LOOK_S)
    except TimeoutError as error:
        why = f"QEMU has not cleared up its last stream for {_CLEAR_UP_S:g} s; try again later"
        raise Failed(why, "stream-stays") from error


async def _set_capabilities(monitor: Monitor, *, multifd: bool, also: dict[str, bool]) -> None:
    wanted = {
        "events": True,
        "return-path": False,
        "pause-before-switchover": False,
        "validate-uuid": True,
        "multifd": multifd,
        **also,
    }
    known = await capabilities(monitor)
    if multifd and "multifd" not in known:
        raise Failed("this QEMU cannot send memory over several connections; migrate without multifd")
    states = [{"capability": name, "state": state} for name, state in wanted.items() if name in known]
    await monitor.execute("migrate-set-capabilities", capabilities=states)


def _common(multifd: bool, compression: str) -> dict[str, object]:
    channels = {"multifd-channels": MULTIFD_CHANNELS, "multifd-compression": compression} if multifd else {}
    return {"announce-rounds": 0, **channels, **_COMPRESSION_LEVELS.get(compression, {})}


async def _listen(monitor: Monitor, uri: str) -> None:
    """A receiver whose stream fails stays alive, as a witness, where QEMU (since 9.1) can be told to."""
    try:
        await monitor.execute("migrate-incoming", {"uri": uri, "exit-on-error": False})
    except Failed as error:
        if UNKNOWN not in error.message:
            raise
        await monitor.execute("migrate-incoming", {"uri": uri})

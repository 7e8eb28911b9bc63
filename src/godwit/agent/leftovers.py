"""What lies on this host that no VM and no migration needs: found, explained, and removed where that is safe.

A QEMU is ended only where the journal says that the VM is somebody else's or over: it may be the last copy.
"""

from __future__ import annotations

import asyncio
import logging
import shutil
import signal
import socket
from collections.abc import Awaitable, Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from godwit.agent.local import AT_HOME, Place
from godwit.agent.vms import Vms
from godwit.contract.host import Order
from godwit.core.errors import GodwitError
from godwit.core.leftover import Leftover
from godwit.core.model import VmState
from godwit.core.ownership import TABLE, Cue, Ownership
from godwit.host import process
from godwit.network import switches, tunnel
from godwit.network.netlink import opened
from godwit.qemu.machine import Machine

log = logging.getLogger("godwit.agent")

OVER = frozenset({Ownership.closed, Ownership.done, Ownership.died})
"""Of a VM that is in these states here, nothing can be needed."""
TAPS = "gw-"


@dataclass(frozen=True)
class Found:
    """A leftover, and how to remove it; none: only a person can say."""

    told: Leftover
    remove: Callable[[], Awaitable[None]] | None = None


async def find(vms: Vms, *, tunnels: set[str]) -> list[Found]:
    """Everything, `tunnels` being those that relays need."""
    ports = [] if vms.is_starting() else await _ports(vms, tunnels)
    seen = await _programs()
    return [*_journals(vms), *_processes(vms, seen), *_directories(vms, seen), *_links(vms, tunnels), *ports]


async def sweep(vms: Vms) -> None:
    """What an agent that was killed had begun and not yet written down is gone: it was nobody's yet."""
    swept = await removed(list(_processes(vms, await _programs())))
    for each in (*swept, *await removed(list(_directories(vms, await _programs())))):
        log.warning("%s (%s) is left over: %s", each.what, each.where, each.remedy or "removed")


def promises(
    moving: Mapping[str, Order], under_way: Collection[str], *, forget: Callable[[Order], object]
) -> list[Found]:
    """Memory and marks that are kept for migrations that are over."""
    found = []
    for vm, order in moving.items():
        if order.migration not in under_way:

            async def remove(order: Order = order) -> None:
                forget(order)

            told = Leftover(what=f"reservation of {vm}", where=f"migration {order.migration}", why="which is over")
            found.append(Found(told, remove))
    return found


def given_away(
    moved: Iterable[Order], under_way: Collection[str], *, retire: Callable[[Order], Awaitable[object]]
) -> list[Found]:
    """What is left of VMs that run elsewhere, or nowhere, of which the manager did not hear in time."""
    found = []
    for order in moved:
        if order.migration not in under_way:

            async def remove(order: Order = order) -> None:
                await retire(order)

            told = Leftover(what=f"{order.vm}, given away", where=f"migration {order.migration}", why="which is over")
            found.append(Found(told, remove))
    return found


async def removed(found: list[Found]) -> tuple[Leftover, ...]:
    """What was found; what could be removed safely is gone."""
    return tuple([await _removed(each) for each in found])


async def _removed(found: Found) -> Leftover:
    if found.remove is None:
        return found.told
    try:
        await found.remove()
    except (GodwitError, OSError) as error:
        return found.told.model_copy(update={"remedy": f"it could not be removed: {error}"})
    return found.told.model_copy(update={"removed": True})


def _names(vms: Vms) -> list[str]:
    """Of every VM that ever had something here."""
    here = {place.name for root in (vms.config.state_dir, vms.config.run_dir) for place in (root / "vms").glob("*")}
    return sorted(here)


def _journals(vms: Vms) -> Iterator[Found]:
    for name in _names(vms):
        place, owner = Place.of(vms.config, name), vms.owner(name)
        if vms.has(name) or vms.is_starting(name):
            continue
        if place.passport.exists():
            why = "its VM was not found when the agent started"
            over = owner.state in OVER
            remedy = "" if over else "look into the agent's log, then start the agent again"
            told = Leftover(what=f"passport of {name}", where=str(place.passport), why=why, remedy=remedy)
            yield Found(told, _unlink(place.passport) if over else None)
        elif owner.state in AT_HOME and not _lives(vms, name):
            told = Leftover(
                what=f"journal of {name}", where=str(place.journal), why=f"{owner.state}, and no QEMU of it"
            )
            yield Found(told, _died(vms, name))
        elif (owner.state, Cue.started) not in TABLE:
            remedy = f"settle its migration {owner.record.migration}: see `godwit migration show`"
            why = f"{owner.state}, and nobody goes on with it"
            yield Found(Leftover(what=f"journal of {name}", where=str(place.journal), why=why, remedy=remedy))


def _lives(vms: Vms, name: str) -> bool:
    record = vms.owner(name).record
    return process.is_alive(record.qemu_pid, record.qemu_start_ticks)


def _unlink(path: Path) -> Callable[[], Awaitable[None]]:
    async def remove() -> None:
        await asyncio.to_thread(path.unlink, missing_ok=True)

    return remove


def _died(vms: Vms, name: str) -> Callable[[], Awaitable[None]]:
    async def write() -> None:
        async with vms.owner(name).turn:
            vms.owner(name).take(Cue.qemu_died)

    return write


async def _programs() -> list[process.Seen]:
    """In this host's network. There may be thousands on the host: looked for beside the loop, before the agent's VMs,
    so that none of those that start meanwhile is taken for nobody's.
    """
    return await asyncio.to_thread(lambda: list(process.in_our_network()))


def _processes(vms: Vms, seen: Iterable[process.Seen]) -> Iterator[Found]:
    """QEMUs and keepers in this host's network that belong to no VM that the agent has."""
    ours = {pid for vm in vms.all() for pid in (vm.machine.qemu_pid, vm.machine.keeper_pid)}
    for each in seen:
        name = _vm_of(each.argv, vms.config.run_dir / "vms")
        if name is None or each.pid in ours or vms.is_starting(name):
            continue
        kind = "keeper" if "godwit.qemu.keeper" in each.argv else "QEMU"
        state = vms.owner(name).state
        safe = state in OVER and not vms.has(name)
        remedy = "" if safe else f"its journal says {state}: start the agent again, which takes it back"
        told = Leftover(
            what=f"{kind} of {name}", where=f"pid {each.pid}", why="the agent does not have it", remedy=remedy
        )
        yield Found(told, _end(each.pid, Place.of(vms.config, name).run_dir) if safe else None)


def _vm_of(argv: tuple[str, ...], run_dirs: Path) -> str | None:
    """The VM whose directory the program was given."""
    prefix = f"{run_dirs}/"
    for word in argv:
        at = word.find(prefix)
        if at >= 0 and (name := word[at + len(prefix) :].split("/")[0].split(",")[0]):
            return name
    return None


def _end(pid: int, run_dir: Path) -> Callable[[], Awaitable[None]]:
    started = process.start_ticks(pid) or 0

    async def end() -> None:
        await Machine.clear(run_dir)
        process.kill(pid, started, signal.SIGKILL)  # if it was too young to be named there

    return end


def _directories(vms: Vms, seen: Iterable[process.Seen]) -> Iterator[Found]:
    used = {_vm_of(each.argv, vms.config.run_dir / "vms") for each in seen}
    for directory in sorted((vms.config.run_dir / "vms").glob("*")):
        name = directory.name
        if vms.has(name) or vms.is_starting(name) or name in used:
            continue
        state = vms.owner(directory.name).state
        safe = state in OVER | {Ownership.lost}
        remedy = "" if safe else f"its journal says {state}, of which its event log may be evidence: settle that first"
        told = Leftover(
            what=f"directory of {directory.name}", where=str(directory), why="no QEMU is in it", remedy=remedy
        )

        async def remove(directory: Path = directory) -> None:
            await asyncio.to_thread(shutil.rmtree, directory)

        yield Found(told, remove if safe else None)


def _links(vms: Vms, tunnels: set[str]) -> Iterator[Found]:
    """With a tap or a tunnel go the bridge's entries that point to it."""
    if vms.is_starting():
        return  # its taps are nobody's yet
    needed = {plug.tap for vm in vms.all() if vm.state != VmState.stopped for plug in vm.passport.plugs}
    for _, name in socket.if_nameindex():
        if name.startswith(TAPS) and name not in needed:
            told = Leftover(what="tap", where=name, why="no VM here has it plugged")
            yield Found(told, _delete_link(name))
        elif name.startswith(tunnel.ENDS) and name not in tunnels:
            told = Leftover(what="tunnel", where=name, why="no relay uses it")
            yield Found(told, _close_tunnel(name))


async def _ports(vms: Vms, kept: Collection[str]) -> list[Found]:
    """Ports of switches that do not go with their taps."""
    taps = {plug.tap for vm in vms.all() if vm.state != VmState.stopped for plug in vm.passport.plugs}
    found = []
    for name in await switches.ports_of_nobody(taps):
        if name not in kept:

            async def remove(name: str = name) -> None:
                await switches.remove_port(name)

            told = Leftover(what="port", where=name, why="no VM here has it plugged, and no relay uses it")
            found.append(Found(told, remove))
    return found


def _delete_link(name: str) -> Callable[[], Awaitable[None]]:
    async def delete() -> None:
        with opened(f"removing {name}") as ip:
            ip.link("del", ifname=name)

    return delete


def _close_tunnel(name: str) -> Callable[[], Awaitable[None]]:
    async def close() -> None:
        await tunnel.close(name)

    return close

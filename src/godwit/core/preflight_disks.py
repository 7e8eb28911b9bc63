"""May the disks of this VM stay, or go where they shall? Rules like those of `core.preflight`."""

from __future__ import annotations

from collections import defaultdict

from godwit.core.case import Case, Found, Rule
from godwit.core.finding import blocker
from godwit.core.model import MIB, Disk
from godwit.core.plan import disk_moves


def disks_that_stay_are_seen(case: Case) -> Found:
    """Both hosts see the same files in each datastore of a disk that does not go, at one path."""
    staying = [disk for disk in case.move.spec.volumes if case.move.datastore_for(disk) is None]
    if case.source.host == case.destination.host:
        return
    for name in sorted({disk.datastore for disk in staying}):
        yield from _is_seen_by_both(case, name)


def _is_seen_by_both(case: Case, name: str) -> Found:
    here, there = ({each.name: each for each in host.datastores} for host in (case.source, case.destination))
    source, destination = case.source.host, case.destination.host
    take_along = f"take its disks along with --datastore NAME, see `godwit datastore list` for what {destination} has"
    if name not in there:
        yield blocker(
            "datastore-missing",
            f"{destination} does not see datastore {name!r}, where {case.vm} has a disk",
            f"it sees {', '.join(there) or 'none'}",
            f"mount it there, or {take_along}",
        )
    elif name not in here:
        yield blocker(
            "datastore-missing",
            f"{source} does not see datastore {name!r}, where {case.vm} has a disk",
            f"it sees {', '.join(here) or 'none'}",
            f"if its agent has just been started, it has not looked yet: wait a moment; else mount it, or {take_along}",
        )
    elif not (here[name].shared and there[name].shared):
        yield blocker(
            "datastore-local",
            f"{case.vm} has a disk in datastore {name!r}, which is not shared by {source} and {destination}",
            "its files would stay behind",
            take_along,
        )
    elif here[name].path != there[name].path:
        yield blocker(
            "datastore-path",
            f"datastore {name!r} lies at two paths",
            f"{here[name].path} on {source}, {there[name].path} on {destination}",
            "mount it at one path everywhere",
        )
    elif not here[name].is_same(there[name]):
        yield blocker(
            "datastore-differs",
            f"datastore {name!r} is said to be shared, but {source} and {destination} see different files there",
            f"both at {here[name].path}",
            f"mount the same file system on both, or {take_along}",
        )


def disks_can_go(case: Case) -> Found:
    """There are such disks, and the destination sees the datastores they shall go to and may write there."""
    there = {each.name: each for each in case.destination.datastores}
    names = {disk.name for disk in case.move.spec.volumes}
    for name in sorted(set(case.move.request.disks) - names):
        yield blocker(
            "disk-unknown",
            f"{case.vm} has no disk {name!r}",
            f"it has {', '.join(sorted(names)) or 'none'}",
            "see `godwit disk list`",
        )
    wanted = [case.move.request.datastore, *map(case.move.datastore_for, case.move.spec.volumes)]
    for name in sorted({each for each in wanted if each}):
        if name not in there:
            yield blocker(
                "datastore-missing",
                f"{case.destination.host} does not see datastore {name!r}",
                f"it sees {', '.join(there) or 'none'}",
                "mount it there, or choose another datastore or host",
            )
        elif not there[name].writable:
            yield blocker(
                "datastore-read-only",
                f"{case.destination.host} cannot write into datastore {name!r}",
                f"{there[name].path} is read-only there",
                "mount it for writing, or choose another datastore",
            )


def units_are_free(case: Case) -> Found:
    """Each disk that goes to an iSCSI target finds a unit there that is large enough and nobody's."""
    targets = {each.name: each for each in case.destination.datastores if each.kind == "iscsi"}
    placed = {move.disk.name for move in disk_moves(case.move, case.source, case.destination)}
    for disk in case.move.spec.volumes:
        there = targets.get(case.move.datastore_for(disk) or "")
        if there and disk.name not in placed and disk.datastore != there.name:
            sizes = ", ".join(f"{each.number}: {each.size_bytes // MIB} MiB" for each in there.luns)
            yield blocker(
                "no-unit",
                f"datastore {there.name!r} has no unit for disk {disk.name} of {case.vm}",
                f"it needs {disk.size_bytes // MIB} MiB, and {there.path} has {sizes or 'none'}, some of them taken",
                "let the target's owner add one, or choose another datastore",
            )


def disks_fit(case: Case) -> Found:
    """What goes into a datastore is no larger than what is free there; sparse or not, it may be filled."""
    there = {each.name: each for each in case.destination.datastores}
    coming: dict[str, list[Disk]] = defaultdict(list)
    for move in disk_moves(case.move, case.source, case.destination):
        if not move.to.is_lun:
            coming[move.to.datastore].append(move.to)
    for name, disks in sorted(coming.items()):
        needed, free = sum(disk.size_bytes for disk in disks), there[name].free_bytes
        if needed > free:
            yield blocker(
                "disk-full",
                f"datastore {name!r} has too little room on {case.destination.host}",
                f"{free // MIB} MiB free, {', '.join(disk.name for disk in disks)} need {needed // MIB} MiB",
                "free some, or choose another datastore",
            )


def something_goes(case: Case) -> Found:
    """A VM that stays on its host has a disk that does not stay."""
    if case.source.host == case.destination.host and not disk_moves(case.move, case.source, case.destination):
        wanted = {each for disk in case.move.spec.volumes if (each := case.move.datastore_for(disk))}
        if wanted <= {each.name for each in case.destination.datastores}:
            yield blocker(
                "nothing-to-move",
                f"nothing of {case.vm} would go anywhere",
                f"it is on {case.source.host}, and its disks are where they shall be",
                "name another host or datastore",
            )


RULES: tuple[Rule, ...] = (
    disks_that_stay_are_seen,
    disks_can_go,
    units_are_free,
    disks_fit,
    something_goes,
)
"""Worst first."""

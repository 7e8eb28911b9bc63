"""Disks as QEMU's block layer names them: a node for each, opened the same way wherever it is opened."""

from __future__ import annotations

import json
from contextlib import suppress
from typing import Any

from godwit.core.errors import Failed
from godwit.core.model import Disk
from godwit.qemu.monitor import Monitor


def node(name: str, disk: Disk) -> dict[str, Any]:
    """O_DIRECT, so that the destination never reads what the source has not yet written; image locks on.

    What a guest discards, and zeros that are copied, take no room, unless the disk is to keep all of it.
    """
    how: dict[str, object] = {"cache": {"direct": True}, **({"read-only": True} if disk.read_only else {})}
    how["discard"] = "ignore" if disk.preallocated else "unmap"
    if disk.is_lun:  # as large as the disk, and not as the unit, which may have room to spare
        return {"node-name": name, "driver": "raw", "size": disk.size_bytes, "file": {**_unit(disk.path), **how}, **how}
    file = {"driver": "file", "filename": disk.path, "locking": "on", **how}
    return {"node-name": name, "driver": str(disk.format), "file": file, **how}


def _unit(url: str) -> dict[str, object]:
    """`iscsi://PORTAL/TARGET/NUMBER` as QEMU's own initiator has it."""
    portal, name, number = url.removeprefix("iscsi://").split("/")
    return {"driver": "iscsi", "transport": "tcp", "portal": portal, "target": name, "lun": int(number)}


def _is_at(filename: str, disk: Disk) -> bool:
    if not disk.is_lun:
        return filename == disk.path
    told = json.loads(filename.removeprefix("json:")) if filename.startswith("json:") else {}
    unit = told.get("file", {})
    return all(str(unit.get(key)) == str(value) for key, value in _unit(disk.path).items())


async def open_disk(monitor: Monitor, name: str, disk: Disk) -> None:
    """The node is there; `Failed` if the disk cannot be opened, as when somebody else writes it."""
    await monitor.execute("blockdev-add", node(name, disk))


PART = "part-"
"""Begins the names of nodes that are a range of another one."""


async def open_part(monitor: Monitor, whole: str, *, offset: int, size: int) -> str:
    """A node that is this range of that node."""
    name = PART + whole
    words = {"node-name": name, "driver": "raw", "offset": offset, "size": size, "file": whole}
    await monitor.execute("blockdev-add", words | {"cache": {"direct": True}, "discard": "unmap"})
    return name


async def close_parts(monitor: Monitor) -> None:
    """No node is a range of another one, but those in use."""
    for each in await monitor.execute("query-named-block-nodes", flat=True):
        if each["node-name"].startswith(PART):
            with suppress(Failed):  # it is in use
                await monitor.execute("blockdev-del", {"node-name": each["node-name"]})


async def node_of(monitor: Monitor, disk: Disk) -> str:
    """The node by which QEMU has that disk; `Failed` if it has none."""
    if node := await find_node(monitor, disk):
        return node
    raise Failed(f"QEMU has not opened {disk.path}: see its qemu.log", "disk-not-open")


async def find_node(monitor: Monitor, disk: Disk) -> str | None:
    """The node by which QEMU has that disk, if it has one; `Failed` if it does not say."""
    for each in await monitor.execute("query-named-block-nodes", flat=True):
        is_ours = not each["node-name"].startswith(("#", PART))
        if is_ours and each["drv"] == disk.format and _is_at(each["image"]["filename"], disk):
            return str(each["node-name"])
    return None


async def allocated_bytes(monitor: Monitor, name: str) -> int | None:
    """What the node's file takes; none: the storage does not tell."""
    for each in await monitor.execute("query-named-block-nodes", flat=True):
        if each["node-name"] == name:
            size: int | None = each["image"].get("actual-size")
            return size
    return None


async def close_node(monitor: Monitor, name: str) -> None:
    """The node is gone; one that never was is no error."""
    if any(each["node-name"] == name for each in await monitor.execute("query-named-block-nodes", flat=True)):
        await monitor.execute("blockdev-del", {"node-name": name})

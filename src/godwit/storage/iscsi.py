"""A datastore that is an iSCSI target: one disk per unit (LUN), looked at with libiscsi's own tools, opened by QEMU."""

from __future__ import annotations

import re

from godwit.core.errors import Failed
from godwit.core.model import Lun
from godwit.host import process

LOOK_TIMEOUT_S = 4.0


async def luns(url: str) -> tuple[Lun, ...]:
    """The units of that target that can hold a disk, by number; `Failed` if it does not answer.

    A unit without a serial number is left out: nobody could tell it from another one.
    """
    portal = url.rpartition("/")[0]
    told = await process.run(["iscsi-ls", "-s", portal], timeout_s=LOOK_TIMEOUT_S)
    found = [await _lun(url, number) for number in _numbers(told, name=url.rpartition("/")[2])]
    return tuple(lun for lun in found if lun.serial)


def _numbers(told: str, *, name: str) -> list[int]:
    """`iscsi-ls` lists targets, and under each one its units."""
    numbers, is_ours = [], False
    for line in told.splitlines():
        if line.startswith("Target:"):
            is_ours = line.split()[0] == f"Target:{name}"
        elif is_ours and (unit := re.match(r"Lun:(\d+)\s+Type:DIRECT_ACCESS", line)):
            numbers.append(int(unit[1]))
    return numbers


async def _lun(url: str, number: int) -> Lun:
    place = f"{url}/{number}"
    size = await process.run(["iscsi-readcapacity16", "-s", place], timeout_s=LOOK_TIMEOUT_S)
    page = await process.run(["iscsi-inq", "-e", "1", "-c", "128", place], timeout_s=LOOK_TIMEOUT_S)
    serial = re.search(r"Unit Serial Number:\[(.*)\]", page)
    try:
        return Lun(number=number, size_bytes=int(size.split()[-1]), serial=serial[1].strip() if serial else "")
    except (ValueError, IndexError) as error:
        raise Failed(f"{place} does not tell how large it is: {size.strip()}; look at that target") from error

"""QEMU's storage daemon under a keeper: the block layer without a VM, for disks whose VM is off."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from godwit.core.errors import TimedOut
from godwit.qemu.machine import Machine

START_S = (5.0, 20.0)
"""It makes its monitor ready in a thread of its own, beside the first client's coming. In 24,000 starts GLib complained
some dozen times of a source destroyed meanwhile; one that did not greet within 20 s was seen once: it is started again.
"""


def binary_beside(qemu: str) -> str:
    """The daemon that came with that QEMU."""
    name = "qemu-storage-daemon"
    return str(Path(qemu).with_name(name)) if "/" in qemu else name


async def start(run_dir: Path, *, qemu: str, env: Mapping[str, str]) -> Machine:
    """It runs, and has no disk yet. On failure nothing of it is left."""
    directory = str(run_dir).replace(",", ",,")
    words = [
        binary_beside(qemu),
        *("--chardev", f"socket,id=control,path={directory}/qmp.sock,server=on,wait=off"),
        *("--monitor", "chardev=control,mode=control"),
    ]
    try:
        return await Machine.start_program(words, run_dir, env=env, timeout_s=START_S[0])
    except TimedOut:
        return await Machine.start_program(words, run_dir, env=env, timeout_s=START_S[1])

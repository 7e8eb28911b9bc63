"""The lab's storage node: an iSCSI target (tgt) with a few units, run in the node as its daemon."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path
from typing import NoReturn

from godwit.core.model import MIB
from godwit.lab.topology import ISCSI_NAME, ISCSI_PORT, STORAGE, Node

UNITS_MIB = (64, 64, 512, 512, 4096)
"""By number, from 1; files without content take no room."""
READY = "ready"
"""A file that is there once the target answers whoever asks."""
PROGRAMS = ("tgtd", "tgtadm", "iscsi-ls")
PACKAGE = "tgt libiscsi-bin qemu-block-extra"

_CONTROL = "1"
_ANSWER_S = 60.0


def words(node: Node, directory: Path) -> list[str]:
    """What starts it there, with its units' files in that directory."""
    return [sys.executable, "-P", "-m", "godwit.lab.storage_node", str(directory), node.address(STORAGE)]


def url(node: Node) -> str:
    """As a datastore's path has it."""
    return f"iscsi://{node.address(STORAGE)}:{ISCSI_PORT}/{ISCSI_NAME}"


def main(argv: list[str]) -> NoReturn:
    """`storage_node DIRECTORY ADDRESS` becomes the target; another process of ours tells it what it has, and ends."""
    directory, address = Path(argv[0]), argv[1]
    (directory / READY).unlink(missing_ok=True)
    if _is_another():
        _configure(directory)
        os._exit(0)
    os.execvp("tgtd", ["tgtd", "-f", "-C", _CONTROL, "--iscsi", f"portal={address}:{ISCSI_PORT}"])


def _is_another() -> bool:
    """True in a process of our making, which is nobody's child, so that the target need not bury it."""
    first = os.fork()
    if first:
        os.waitpid(first, 0)
        return False
    if os.fork():
        os._exit(0)
    return True


def _configure(directory: Path) -> None:
    _wait_for("--op", "new", "--mode", "target", "--tid", "1", "-T", ISCSI_NAME)
    for number, size_mib in enumerate(UNITS_MIB, start=1):
        file = directory / f"unit-{number}"
        with file.open("ab") as made:
            made.truncate(size_mib * MIB)
        unit = ("--mode", "logicalunit", "--tid", "1", "--lun", str(number))
        _tell("--op", "new", *unit, "-b", str(file))
        _tell("--op", "update", *unit, "--params", f"scsi_sn=unit-{number},thin_provisioning=1")
    _tell("--op", "bind", "--mode", "target", "--tid", "1", "-I", "ALL")
    (directory / READY).touch()


def _wait_for(*order: str) -> None:
    """The order was obeyed, as soon as somebody was there to obey."""
    deadline = time.monotonic() + _ANSWER_S
    while not _is_obeyed(*order):
        if time.monotonic() > deadline:
            raise SystemExit(f"tgtd did not answer within {_ANSWER_S:g} s")
        time.sleep(0.05)


def _tell(*order: str) -> None:
    if not _is_obeyed(*order):
        raise SystemExit(f"tgtd refused: {' '.join(order)}")


def _is_obeyed(*order: str) -> bool:
    done = subprocess.run(["tgtadm", "-C", _CONTROL, "--lld", "iscsi", *order], capture_output=True, check=False)
    return done.returncode == 0


if __name__ == "__main__":
    main(sys.argv[1:])

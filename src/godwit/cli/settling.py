"""Asks a person for what nothing else can know."""

from __future__ import annotations

import sys

from godwit.cli.show import warn
from godwit.core.errors import Cancelled, Refused
from godwit.core.migration import Migration

QUESTIONS = """\
{vm} shall run on {runs_on}. If the other host has it too, two copies destroy its disks. How do you know that it cannot?
(such as: its power is off; its journal, on the disk in /var/lib/godwit, says armed)"""


def ask_proof(migration: Migration, runs_on: str) -> str:
    """What the person typed; `Refused` where nobody can be asked."""
    if not sys.stdin.isatty():
        raise Refused("--proof is missing: say how you know that the other host cannot run the VM", "proof")
    warn(migration.error or str(migration.phase))
    warn(QUESTIONS.format(vm=migration.vm, runs_on=runs_on))
    try:
        said = input("proof: ").strip()
    except (EOFError, KeyboardInterrupt):
        said = ""
    if not said:
        raise Cancelled("nothing was settled")
    return said
